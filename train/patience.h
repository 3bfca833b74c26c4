/* How long ranks wait for each other in a step: many times as long as steps take. */
#ifndef REMLA_TRAIN_PATIENCE_H
#define REMLA_TRAIN_PATIENCE_H
#include <stdint.h>

enum { PATIENCE_STEPS = 101 };

typedef struct patience {
    double seconds[PATIENCE_STEPS]; /* of the last steps, in a ring */
    int64_t steps;
} patience;

void patience_step(patience *p, double seconds);
/* Returns 20 times the median of the last steps, and 60 seconds at least; 600 before the first step, which
 * takes longer than the others. */
double patience_limit(const patience *p);

#endif
