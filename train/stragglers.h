/* Finds ranks that are slower than the others. In a step every rank waits for the slowest, so a step's time
 * says nothing about a rank; what it took without waiting for others does.
 *
 * Every 20 steps the median of each rank's own times is compared with the median of these over the ranks (of
 * two: the smaller one). A rank is slow from 1.2 times that on, if it is 50 ms more as well, and until it is
 * below 1.1 times. Medians of 20 steps pass over what happens once. */
#ifndef REMLA_TRAIN_STRAGGLERS_H
#define REMLA_TRAIN_STRAGGLERS_H
#include "base/comm.h"

enum { STRAGGLERS_STEPS = 20 };

typedef struct stragglers {
    int ranks;
    int64_t steps;       /* in the window so far */
    int64_t *own, *data; /* (ranks, STRAGGLERS_STEPS) */
    bool *slow;          /* (ranks) has been named */
} stragglers;

void stragglers_init(stragglers *s, int ranks);
void stragglers_free(stragglers *s);

/* Adds a step: of each rank (ranks) the nanoseconds that it took by itself, and those of them in which it
 * waited for its data. Returns true when ranks have become slow or are not any more, with a sentence on them,
 * once for each. Not collective; the same times give the same answer. `c` knows the hosts. */
bool stragglers_step(stragglers *s, const int64_t *own, const int64_t *data, const comm *c, message *news);

#endif
