/* Private to attention_decode.cu: the products of its tiles. bf16 goes through the tensor cores (mma.sync
 * m16n8k16, fp32 sums), f32 does the same on plain arithmetic, as in flash. Results are fragments of 16 x 8
 * in flash's order: attention_flash_products.h. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_DECODE_PRODUCTS_H
#define REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_DECODE_PRODUCTS_H
#include "kernels/cuda/attention/attention_decode_tiles.h"
#include "kernels/cuda/attention/attention_flash_products.h"

namespace
{

/* The queries of a unit: in a tile; or, where keys are so wide that there is no room for one, in memory,
 * which means the first-level cache: row [strip][half] is that of this lane's fragments, NULL one that is
 * not. */
struct decode_tile_queries {
    act *tile;
    int padded;
};
template <int STRIPS> struct decode_memory_queries {
    const act *row[STRIPS][2];
    int width;

    __device__ float at(int s, int half, int column) const
    {
        return row[s][half] && column < width ? to_float(row[s][half][column]) : 0.0f;
    }
};

#ifdef STORAGE_BF16

/* The left operand's fragment of strip s, columns 16 k to 16 k + 15. */
__device__ __forceinline__ void decode_fragment(uint32_t (&a)[4], const decode_tile_queries &q, int s, int k)
{
    const int lane = threadIdx.x % WARP;
    ldmatrix_x4(a, decode_chunk(q.tile, q.padded, s * 16 + lane % 16, 2 * k + lane / 16));
}
template <int STRIPS>
__device__ __forceinline__ void decode_fragment(uint32_t (&a)[4], const decode_memory_queries<STRIPS> &q,
                                                int s, int k)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int column = k * 16 + i / 2 * 8 + flash_lane_column();
        a[i] = flash_pair(q.at(s, i % 2, column), q.at(s, i % 2, column + 1));
    }
}

/* score = queries keys^T: STRIPS times 16 rows with the 8 positions from `position` on. */
template <int STRIPS, class Queries>
__device__ __forceinline__ void decode_scores(float (&score)[STRIPS][4], const Queries &queries, act *keys,
                                              int padded, int position)
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
                decode_fragment(a, queries, s, k / 2 + half);
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

/* Columns 4 k to 4 k + 3 of one of the lane's rows. */
__device__ __forceinline__ void decode_fragment(float (&a)[4], const decode_tile_queries &q, int s, int half,
                                                int k)
{
    load(a, decode_chunk(q.tile, q.padded, s * 16 + half * 8 + flash_lane_row(), k));
}
template <int STRIPS>
__device__ __forceinline__ void decode_fragment(float (&a)[4], const decode_memory_queries<STRIPS> &q, int s,
                                                int half, int k)
{
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = q.at(s, half, 4 * k + i);
}

template <int STRIPS, class Queries>
__device__ __forceinline__ void decode_scores(float (&score)[STRIPS][4], const Queries &queries, act *keys,
                                              int padded, int position)
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
                decode_fragment(a, queries, s, half, k);
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
