/* Private to attention_flash_*.cu: products of tiles, by a warp. bf16 goes through the tensor cores
 * (mma.sync m16n8k16, fp32 sums); f32 does the same on plain fp32 arithmetic, so that everything around it is
 * one code, and is there to be exact, not to be fast.
 *
 * A warp's results are STRIPS strips of 16 rows, in fragments of 16 x 8. Element e of fragment n is, in lane
 * l, that of
 *
 *     row l/4 + e/2*8 of the strip, column 8 n + l%4*2 + e%2
 *
 * which is also how two neighbouring fragments, rounded to bf16, are the left operand of the next product:
 * the weights never leave the registers. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_FLASH_PRODUCTS_H
#define REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_FLASH_PRODUCTS_H
#include "kernels/cuda/attention/attention_flash.h"

namespace
{

template <int STRIPS, int N> using flash_fragments = float[STRIPS][N / 8][4];

__device__ __forceinline__ int flash_lane_row() { return threadIdx.x % WARP / 4; }
__device__ __forceinline__ int flash_lane_column() { return threadIdx.x % 4 * 2; }

template <int STRIPS, int N> __device__ __forceinline__ void flash_clear(flash_fragments<STRIPS, N> &x)
{
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) x[s][n][e] = 0;
}

#ifdef STORAGE_BF16

/* e^x, to about 2^-22 of itself and 2^-24 |x|: far inside what bf16 keeps. */
__device__ __forceinline__ float flash_exp(float x) { return __expf(x); }

__device__ __forceinline__ uint32_t flash_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

__device__ __forceinline__ void flash_store_pair(act *to, float low, float high)
{
    *(__nv_bfloat162 *)to = __floats2bfloat162_rn(low, high);
}

/* sum += left right^T: rows `row`.. of one tile with the N rows of another, both WIDTH long. */
template <int STRIPS, int N, int WIDTH>
__device__ __forceinline__ void flash_multiply_rows(float (&sum)[STRIPS][N / 8][4], act *left, int row,
                                                    act *right)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        uint32_t a[STRIPS][4];
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
            ldmatrix_x4(a[s], flash_chunk<WIDTH>(left, row + s * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
        for (int n = 0; n < N / 16; n++) {
            uint32_t b[4]; /* two fragments of 8 rows of `right` */
            ldmatrix_x4(b,
                        flash_chunk<WIDTH>(right, n * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
            const uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
#pragma unroll
            for (int s = 0; s < STRIPS; s++) {
                mma_m16n8k16(sum[s][2 * n], a[s], b0, sum[s][2 * n]);
                mma_m16n8k16(sum[s][2 * n + 1], a[s], b1, sum[s][2 * n + 1]);
            }
        }
    }
}

/* sum += left right: fragments of N columns with a tile of N rows, WIDTH long. */
template <int STRIPS, int N, int WIDTH>
__device__ __forceinline__ void flash_multiply_columns(float (&sum)[STRIPS][WIDTH / 8][4],
                                                       const float (&left)[STRIPS][N / 8][4], act *right)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        uint32_t a[STRIPS][4];
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            a[s][0] = flash_pair(left[s][2 * k][0], left[s][2 * k][1]);
            a[s][1] = flash_pair(left[s][2 * k][2], left[s][2 * k][3]);
            a[s][2] = flash_pair(left[s][2 * k + 1][0], left[s][2 * k + 1][1]);
            a[s][3] = flash_pair(left[s][2 * k + 1][2], left[s][2 * k + 1][3]);
        }
#pragma unroll
        for (int w = 0; w < WIDTH / 16; w++) {
            uint32_t b[4]; /* two fragments of 8 columns of `right` */
            ldmatrix_x4_trans(b, flash_chunk<WIDTH>(right, k * 16 + lane % 16, 2 * w + lane / 16));
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

__device__ __forceinline__ float flash_exp(float x) { return expf(x); }

__device__ __forceinline__ void flash_store_pair(act *to, float low, float high)
{
    to[0] = low;
    to[1] = high;
}

__device__ __forceinline__ float flash_dot(const float (&a)[4], const float (&b)[4], float sum)
{
    for (int e = 0; e < 4; e++) sum = fmaf(a[e], b[e], sum);
    return sum;
}

template <int STRIPS, int N, int WIDTH>
__device__ __forceinline__ void flash_multiply_rows(float (&sum)[STRIPS][N / 8][4], act *left, int row,
                                                    act *right)
{
#pragma unroll 1
    for (int k = 0; k < WIDTH / 4; k++)
#pragma unroll
        for (int s = 0; s < STRIPS; s++) {
            float a[2][4];
            load(a[0], flash_chunk<WIDTH>(left, row + s * 16 + flash_lane_row(), k));
            load(a[1], flash_chunk<WIDTH>(left, row + s * 16 + flash_lane_row() + 8, k));
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    float b[4];
                    load(b, flash_chunk<WIDTH>(right, n * 8 + flash_lane_column() + c, k));
                    sum[s][n][c] = flash_dot(a[0], b, sum[s][n][c]);
                    sum[s][n][c + 2] = flash_dot(a[1], b, sum[s][n][c + 2]);
                }
        }
}

template <int STRIPS, int N, int WIDTH>
__device__ __forceinline__ void flash_multiply_columns(float (&sum)[STRIPS][WIDTH / 8][4],
                                                       const float (&left)[STRIPS][N / 8][4], act *right)
{
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll 1
        for (int lane = 0; lane < 4; lane++) /* of the four that share a row: it has two of the 8 columns */
#pragma unroll
            for (int c = 0; c < 2; c++)
#pragma unroll
                for (int s = 0; s < STRIPS; s++) {
                    const float a0 = __shfl_sync(~0u, left[s][n][c], lane, 4),
                                a1 = __shfl_sync(~0u, left[s][n][c + 2], lane, 4);
#pragma unroll
                    for (int w = 0; w < WIDTH / 8; w++) {
                        const int chunk = w * 2 + flash_lane_column() / 4;
                        const float *b =
                            flash_chunk<WIDTH>(right, n * 8 + lane * 2 + c, chunk) + flash_lane_column() % 4;
                        sum[s][w][0] = fmaf(a0, b[0], sum[s][w][0]);
                        sum[s][w][1] = fmaf(a0, b[1], sum[s][w][1]);
                        sum[s][w][2] = fmaf(a1, b[0], sum[s][w][2]);
                        sum[s][w][3] = fmaf(a1, b[1], sum[s][w][3]);
                    }
                }
}

#endif

/* x[row], x[row + 1], ... = factor * sum, factor per row of the fragments. Rows and columns that the tensor
 * does not have are dropped. */
template <int STRIPS, int WIDTH>
__device__ __forceinline__ void flash_store_rows(const flash_rows &x, int row,
                                                 const float (&sum)[STRIPS][WIDTH / 8][4],
                                                 const float (&factor)[STRIPS][2])
{
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = row + s * 16 + half * 8 + flash_lane_row();
            if (at >= x.count) continue;
            act *to = x.data + at * x.stride;
#pragma unroll
            for (int w = 0; w < WIDTH / 8; w++) {
                const int column = w * 8 + flash_lane_column();
                const float low = factor[s][half] * sum[s][w][2 * half],
                            high = factor[s][half] * sum[s][w][2 * half + 1];
                if (x.vectors && column < x.width) {
                    flash_store_pair(to + column, low, high);
                } else {
                    if (column < x.width) to[column] = to_act(low);
                    if (column + 1 < x.width) to[column + 1] = to_act(high);
                }
            }
        }
}

} // namespace
#endif
