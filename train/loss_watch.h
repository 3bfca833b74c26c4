/* Whether the loss is far above its past: whether a run has exploded, so that its new checkpoints must not
 * push out the good ones.
 *
 *   level  the median of the last 16 losses, from 8 on
 *   past   the lowest level so far
 *   noise  1.4826 / sqrt(2) times the median distance between neighbours among the 64 losses up to that
 * level: for normal noise its standard deviation, and neither a falling curve nor spikes disturb it (the
 *          median absolute deviation, of differences)
 *   limit  past + the larger of 7 noises and 1 nat, a perplexity e times as high
 *
 * A step is far above when its loss or the median of the last 8 exceeds the limit, and after such a step as
 * long as one of them exceeds the middle between past and limit: one spike is over with the next step, and a
 * run that has exploded is not back with one lucky batch. A step that was skipped, or whose loss is not
 * finite, is far above too. Before the 8th loss nothing else is: what explodes so early loses next to
 * nothing. A run whose loss rises this far for a good reason, other data for one, stays far above.
 *
 * Not collective; the same losses give the same answer on every rank. */
#ifndef REMLA_TRAIN_LOSS_WATCH_H
#define REMLA_TRAIN_LOSS_WATCH_H
#include <stdbool.h>
#include <stdint.h>

enum { LOSS_WATCH_LAST = 64, LOSS_WATCH_LEVEL = 16, LOSS_WATCH_SHORT = 8 };

/* Starts as all zeros; holds no pointers. */
typedef struct loss_watch {
    double loss[LOSS_WATCH_LAST]; /* a ring; what is not finite is infinite */
    int64_t taken;
    double past, limit; /* from 8 losses on */
    int64_t far;        /* how many steps in a row, the last one included, were far above; 0: it is not */
} loss_watch;

/* What a loss and the median of 8 must not exceed, after what has been added. */
double loss_watch_limit(const loss_watch *w);
/* The loss of the next step. */
void loss_watch_add(loss_watch *w, double loss, bool skipped);

#endif
