/* The loader reads the batch of the next step, on a thread of its own, while the step computes. What it gives
 * for a position is the same as reading it then and there, errors too: one that it meets ahead of time comes
 * out when its batch is asked for. Memory: two batches. */
#ifndef REMLA_TRAIN_LOADER_H
#define REMLA_TRAIN_LOADER_H
#include "eval/batch.h"

/* Fills the batch that belongs to `position` and sets *counted to its counted targets. Runs on the loader's
 * thread: what it reads through `context` does not change while the loader runs. */
typedef status (*loader_read)(const void *context, host_batch *b, int64_t position, int64_t *counted,
                              message *why);

typedef struct loader loader;

/* Batches of `sequences` windows of T tokens. The thread begins with the batch of `first` (-1: none), while
 * the caller has other things to prepare. Borrows context until loader_stop. */
loader *loader_start(loader_read read, const void *context, int64_t sequences, int64_t T, int64_t first);
void loader_stop(loader *l); /* waits for the thread; NULL is fine */

/* The batch of `position`; borrowed until the next call. Then the thread goes on with `next` (-1: nothing).
 * Adds to *waited the seconds that it took. Not collective; one thread calls it. */
status loader_next(loader *l, int64_t position, int64_t next, const host_batch **batch, int64_t *counted,
                   double *waited, message *why);

#endif
