/* Private to kernels/: what the ops on the vocabulary head share (head_loss, head_scores). */
#ifndef REMLA_KERNELS_CPU_HEAD_H
#define REMLA_KERNELS_CPU_HEAD_H
#include "kernels/cpu/cpu.h"

/* Stops the job, naming the op `function`, unless hidden is (N,C), weight (V,C), targets (N) of ids in [-1,V)
 * and scratch (1 or more,V). Targets and scratch are contiguous. */
static inline void require_head(const char *function, const tensor *hidden, const tensor *weight,
                                const tensor *targets, const tensor *scratch)
{
    const int64_t N = hidden->dim[0], C = hidden->dim[1], V = weight->dim[0], chunk = scratch->dim[0];
    tensor_require_shape(function, hidden, REAL_TYPE, 2, (const int64_t[]){N, C});
    tensor_require_shape(function, weight, REAL_TYPE, 2, (const int64_t[]){V, C});
    tensor_require_shape(function, targets, I32, 1, (const int64_t[]){N});
    tensor_require_shape(function, scratch, REAL_TYPE, 2, (const int64_t[]){chunk, V});
    REQUIRE(chunk >= 1, "%s: no room for a row", function);
    REQUIRE(tensor_contiguous(targets), "%s: %s is a strided view", function, targets->name);
    REQUIRE(tensor_contiguous(scratch), "%s: %s is a strided view", function, scratch->name);
    const int32_t *target = targets->data;
    for (int64_t n = 0; n < N; n++)
        REQUIRE(target[n] >= -1 && target[n] < V, "%s: targets[%lld] is %d of %lld", function, (long long)n,
                target[n], (long long)V);
}

/* The largest of V numbers, 1 at least. */
static inline real highest_of(const real *row, int64_t V)
{
    real highest = row[0];
#pragma omp simd reduction(max : highest)
    for (int64_t v = 0; v < V; v++) highest = row[v] > highest ? row[v] : highest;
    return highest;
}

#endif
