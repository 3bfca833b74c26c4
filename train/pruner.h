/* Removes old checkpoints behind a run, which may take as long as a disk takes to give up some 100 GB. Rank
 * 0's; nothing else may write RUN/checkpoints meanwhile. */
#ifndef REMLA_TRAIN_PRUNER_H
#define REMLA_TRAIN_PRUNER_H
#include "base/file.h"
#include <stdbool.h>

typedef struct pruner {
    struct helper *thread; /* NULL until there is something to remove */
    char run[PATH_BYTES];
    int64_t keep, best;
} pruner;

/* Calls checkpoint_prune in a thread, after what this one has under way. A failure is a warning. */
void pruner_run(pruner *p, const char *run, int64_t keep, int64_t best);
/* Waits until nothing is being removed; true when it is so. Gives up after so many seconds. */
bool pruner_wait(const pruner *p, double seconds);
/* Ends the thread, if it is not stuck. */
void pruner_stop(pruner *p);

#endif
