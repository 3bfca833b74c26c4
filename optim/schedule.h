/* Learning rate by step. Step k counts from 1: warm-up k/warmup * rate, then from rate at the end of warm-up
 * to min_rate at the last step. */
#ifndef REMLA_OPTIM_SCHEDULE_H
#define REMLA_OPTIM_SCHEDULE_H
#include <stdint.h>

typedef enum schedule_kind {
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR,
    SCHEDULE_CONSTANT,
    SCHEDULE_ONE_MINUS_SQRT
} schedule_kind;

typedef struct schedule {
    schedule_kind kind;
    double rate, min_rate;
    int64_t warmup, steps;
} schedule;

double schedule_rate(const schedule *s, int64_t step);

#endif
