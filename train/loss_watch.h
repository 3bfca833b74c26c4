/* Watches for a loss far above its past: a run that has exploded must not replace its good checkpoints.
 *
 *   level  the median of the last 16 losses, from 8 on
 *   past   the lowest level so far
 *   noise  1.4826 / sqrt(2) times the median distance between neighbours among the 64 losses up to that
 *          level. For normal noise this is its standard deviation, and neither a falling curve nor spikes
 *          disturb it (the median absolute deviation, of differences)
 *   limit  past + the larger of 7 noises and 1 nat, a perplexity e times as high
 *
 * A step is far above when its loss or the median of the last 8 exceeds the limit. After such a step, so are
 * those that follow as long as one of the two exceeds the middle between past and limit. One spike is over
 * with the next step, and a run that has exploded is not back with one lucky batch. A step that was skipped,
 * or whose loss is not finite, is far above too. Before the 8th loss no other step is: a run that explodes so
 * early loses next to nothing. A run whose loss rises this far for a good reason, such as other data, stays
 * far above.
 *
 * Not collective; the same losses give the same answer on every rank. */
#ifndef REMLA_TRAIN_LOSS_WATCH_H
#define REMLA_TRAIN_LOSS_WATCH_H
#include <stdbool.h>
#include <stdint.h>

enum { LOSS_WATCH_LAST = 64, LOSS_WATCH_LEVEL = 16, LOSS_WATCH_SHORT = 8 };
/* A loss that is far above its past for 8 steps, and updates that were skipped 3 times in a row, will not
 * come back by themselves. */
enum { LOSS_WATCH_FAR = 8, LOSS_WATCH_SKIPS = 3 };

/* Starts as all zeros; holds no pointers. */
typedef struct loss_watch {
    double loss[LOSS_WATCH_LAST]; /* a ring; NaN is stored as infinity */
    int64_t taken;
    double past, limit; /* from 8 losses on */
    int64_t far;        /* steps in a row, up to the last one, that were far above; 0: it is not */
    int64_t skips;      /* steps in a row, up to the last one, that were skipped or had no finite loss */
} loss_watch;

/* Returns the bound that the next loss and median of 8 must not exceed. */
double loss_watch_limit(const loss_watch *w);
/* Adds the loss of the next step; `skipped`: its update was not made. */
void loss_watch_add(loss_watch *w, double loss, bool skipped);
/* True when the run has exploded with the last step: at the third skipped step and the ones after it, at the
 * eighth far one and every eighth after it, unless its own loss is back. */
bool loss_watch_exploded(const loss_watch *w);

#endif
