/* Private to attention_decode.cu: the products of its tiles. bf16 goes through the tensor cores (mma.sync
 * m16n8k16, fp32 sums), f32 does the same on plain arithmetic, as in flash. Results are fragments of 16 x 8
 * in flash's order: attention_flash_products.h. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_DECODE_PRODUCTS_H
#define REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_DECODE_PRODUCTS_H
#include "kernels/cuda/attention/attention_decode_tiles.h"
#include "kernels/cuda/attention/attention_flash_products.h"

namespace
{

#ifdef STORAGE_BF16

/* score = queries keys^T: STRIPS times 16 rows with the 8 positions from `position` on. */
template <int STRIPS>
__device__ __forceinline__ void decode_scores(float (&score)[STRIPS][4], act *queries, act *keys, int padded,
                                              int position)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll 2
    for (int k = 0; k < padded / VEC; k += 4) { /* chunks */
        uint32_t b[4];                          /* two fragments, of 16 elements each */
        ldmatrix_x4(b, decode_chunk(keys, padded, position + lane % 8, k + lane / 8));
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const uint32_t right[2] = {b[2 * half], b[2 * half + 1]};
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                uint32_t a[4];
                ldmatrix_x4(a, decode_chunk(queries, padded, s * 16 + lane % 16, k + 2 * half + lane / 16));
                mma_m16n8k16(score[s], a, right, score[s]);
            }
        }
    }
}

/* sum += weights values: STRIPS times 16 rows of `positions` weights with columns from `column` on, COLUMNS
 * of them, without those from `end` on. */
template <int STRIPS, int COLUMNS>
__device__ __forceinline__ void decode_values(float (&sum)[STRIPS][COLUMNS / 8][4], act *weights, act *values,
                                              int padded, int positions, int column, int end)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll 1
    for (int k = 0; k < positions / 16; k++) {
        uint32_t a[STRIPS][4];
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            ldmatrix_x4(a[s], decode_chunk(weights, DECODE_POSITIONS, s * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
        for (int w = 0; w < COLUMNS / 16; w++) {
            if (column + w * 16 >= end) break;
            uint32_t b[4]; /* two fragments of 8 columns */
            ldmatrix_x4_trans(
                b, decode_chunk(values, padded, k * 16 + lane % 16, column / VEC + 2 * w + lane / 16));
            const uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                mma_m16n8k16(sum[s][2 * w], a[s], b0, sum[s][2 * w]);
                mma_m16n8k16(sum[s][2 * w + 1], a[s], b1, sum[s][2 * w + 1]);
            }
        }
    }
}

#else

template <int STRIPS>
__device__ __forceinline__ void decode_scores(float (&score)[STRIPS][4], act *queries, act *keys, int padded,
                                              int position)
{
#pragma unroll 2
    for (int k = 0; k < padded / VEC; k++) {
        float b[2][4];
#pragma unroll
        for (int c = 0; c < 2; c++)
            load(b[c], decode_chunk(keys, padded, position + flash_lane_column() + c, k));
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float a[4];
                load(a, decode_chunk(queries, padded, s * 16 + half * 8 + flash_lane_row(), k));
#pragma unroll
                for (int c = 0; c < 2; c++)
                    score[s][2 * half + c] = flash_dot(a, b[c], score[s][2 * half + c]);
            }
    }
}

template <int STRIPS, int COLUMNS>
__device__ __forceinline__ void decode_values(float (&sum)[STRIPS][COLUMNS / 8][4], act *weights, act *values,
                                              int padded, int positions, int column, int end)
{
#pragma unroll 1
    for (int k = 0; k < positions; k++) {
        float a[STRIPS][2];
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                a[s][half] = weights[(s * 16 + half * 8 + flash_lane_row()) * DECODE_POSITIONS + k];
#pragma unroll
        for (int w = 0; w < COLUMNS / 8; w++) {
            if (column + w * 8 >= end) break;
            const float *b = values + k * padded + column + w * 8 + flash_lane_column();
#pragma unroll
            for (int s = 0; s < STRIPS; s++)
#pragma unroll
                for (int e = 0; e < 4; e++) sum[s][w][e] = fmaf(a[s][e / 2], b[e % 2], sum[s][w][e]);
        }
    }
}

#endif

} // namespace
#endif
