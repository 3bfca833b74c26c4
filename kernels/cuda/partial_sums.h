/* Private to the CUDA sources: sums over many rows, such as the gradient of a bias over the rows of dout,
 * that come out the same every time. Blocks that added to one result by atomic additions would do so in an
 * order that changes. So it goes in two stages: each block of the first writes the sum of its rows to a row
 * of `partial`, (num,C), and the kernel here adds these rows to the result. A block has 32 columns; its warps
 * add up a slice of the rows each, side by side, and the first warp adds the slices in order. That order
 * depends on num alone. */
#ifndef REMLA_KERNELS_CUDA_PARTIAL_SUMS_H
#define REMLA_KERNELS_CUDA_PARTIAL_SUMS_H
#include "kernels/cuda/kernel.h"

enum { PARTIAL_SLICES = 8 }; /* of the rows, that warps add up side by side */

/* out (C) += the sum of the rows of partial. */
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

static inline void partial_sums_add(float *out, const float *partial, int64_t num, int64_t C, stream *s)
{
    LAUNCH(add_partial_sums, num > 0 ? blocks_for(C, WARP) : 0, WARP * PARTIAL_SLICES, 0, s, out, partial,
           num, C);
}

#endif
