/* The median, so that a step that waited for the disk does not count. */
#include "train/patience.h"
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void patience_step(patience *p, double seconds) { p->seconds[p->steps++ % PATIENCE_STEPS] = seconds; }

double patience_limit(const patience *p)
{
    enum { BEFORE = 600, LEAST = 60, TIMES = 20 };
    if (!p->steps) return BEFORE;
    double sorted[PATIENCE_STEPS];
    const int64_t count = p->steps < PATIENCE_STEPS ? p->steps : PATIENCE_STEPS;
    memcpy(sorted, p->seconds, sizeof *sorted * (size_t)count);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    const double limit = TIMES * sorted[count / 2];
    return limit > LEAST ? limit : LEAST;
}
