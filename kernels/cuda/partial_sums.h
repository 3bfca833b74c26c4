/* Private to the CUDA sources: the second stage of sums over many rows. Blocks of the first leave (num,C)
 * partial sums; here they are added up in an order that depends on num alone. */
#ifndef REMLA_KERNELS_CUDA_PARTIAL_SUMS_H
#define REMLA_KERNELS_CUDA_PARTIAL_SUMS_H
#include "kernels/cuda/kernel.h"

enum { PARTIAL_SLICES = 8 }; /* of the rows, that warps add up side by side */

/* out (C) += the sum of the rows of partial. A block takes 32 columns, its warps take a slice of the rows
 * each. */
static __global__ void __launch_bounds__(WARP *PARTIAL_SLICES)
    add_partial_sums(float *out, const float *partial, int64_t num, int64_t C)
{
    SHARED(float, slice_sum, [PARTIAL_SLICES][WARP]);
    const int lane = threadIdx.x % WARP, slice = threadIdx.x / WARP;
    const int64_t c = (int64_t)blockIdx.x * WARP + lane, end = num * (slice + 1) / PARTIAL_SLICES;
    float sum = 0;
    if (c < C)
        for (int64_t i = num * slice / PARTIAL_SLICES; i < end; i++) sum += partial[i * C + c];
    slice_sum[slice][lane] = sum;
    __syncthreads();
    if (slice > 0 || c >= C) return;
    for (int i = 1; i < PARTIAL_SLICES; i++) sum += slice_sum[i][lane];
    out[c] += sum;
}

static inline void launch_add_partial_sums(float *out, const float *partial, int64_t num, int64_t C,
                                           stream *s)
{
    LAUNCH(add_partial_sums, num > 0 ? blocks_for(C, WARP) : 0, WARP * PARTIAL_SLICES, 0, s, out, partial,
           num, C);
}

#endif
