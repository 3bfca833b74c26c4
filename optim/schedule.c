/* A straight warm-up, then one of four ways down; see schedule.h. */
#include "optim/schedule.h"
#include <math.h>

/* Where between the lowest (0) and the highest rate (1); exactly 0 at progress 1. */
static double height(schedule_kind kind, double progress)
{
    switch (kind) {
    case SCHEDULE_COSINE:
        return 0.5 * (1 + cos(3.14159265358979323846 * progress));
    case SCHEDULE_LINEAR:
        return 1 - progress;
    case SCHEDULE_ONE_MINUS_SQRT:
        return 1 - sqrt(progress);
    case SCHEDULE_CONSTANT:
        break;
    }
    return 1;
}

double schedule_rate(const schedule *s, int64_t step)
{
    if (step > s->steps) step = s->steps;
    if (step < s->warmup) return s->rate * (double)step / (double)s->warmup;
    if (step == s->warmup || s->kind == SCHEDULE_CONSTANT) return s->rate;
    return s->min_rate + (s->rate - s->min_rate) *
                             height(s->kind, (double)(step - s->warmup) / (double)(s->steps - s->warmup));
}
