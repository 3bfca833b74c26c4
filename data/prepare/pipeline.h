/* Works on a stream of items by several threads: one at a time reads the next item, all work on theirs side
 * by side, and one at a time writes finished items in the order of reading. So neither the output nor the
 * reported error (the first one in that order) depends on the number of threads. */
#ifndef REMLA_DATA_PREPARE_PIPELINE_H
#define REMLA_DATA_PREPARE_PIPELINE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct pipeline {
    /* Fills the item. *bytes: the memory that it takes; *ended: the stream had ended. */
    status (*read)(void *context, void *item, int64_t *bytes, bool *ended, message *why);
    /* Works on the item. `thread` is below `threads`, and no two calls have the same one at a time. */
    status (*work)(void *context, int thread, void *item, message *why);
    status (*write)(void *context, void *item, message *why);
    void *context;
    void *
        *item; /* (items), reused; a few for every thread, so that one slow item does not stall the others */
    int items, threads;
    int64_t bytes; /* nothing is read while the items on the way take more than this */
} pipeline;

/* Returns at the end of the stream, or when a step fails: then some items have been read and not written. */
status pipeline_run(const pipeline *p, message *why);

#endif
