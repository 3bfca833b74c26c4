/* The middle of repeated measurements. */
#ifndef REMLA_BENCH_MEDIAN_H
#define REMLA_BENCH_MEDIAN_H
#include <stdint.h>
#include <stdlib.h>

static inline int median_order(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the values; of an even number the upper one of the two in the middle. */
static inline double median(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, median_order);
    return values[count / 2];
}

#endif
