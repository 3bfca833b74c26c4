/* Private to kernels/: the whole numbers by which work is cut into blocks. */
#ifndef REMLA_KERNELS_CPU_BLOCKS_H
#define REMLA_KERNELS_CPU_BLOCKS_H
#include <stdint.h>

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Blocks of `size` that `count` things fill, the last one perhaps in part. */
static inline int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

#endif
