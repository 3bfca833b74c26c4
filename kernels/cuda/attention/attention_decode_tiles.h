/* Private to attention_decode.cu: tiles of queries, of cached keys and values and of weights in shared
 * memory.
 *
 * Rows of a tile are as long as the tensor's, rounded up to DECODE_UNIT elements and padded with zeros.
 * Chunks of 16 bytes of a row are permuted with the row's number, so that the eight rows of an 8 x 8 matrix
 * that ldmatrix reads lie in different banks. f32 is not permuted, as in flash. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_DECODE_TILES_H
#define REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_DECODE_TILES_H
#include "kernels/cuda/fp8.h"
#include "kernels/cuda/mma.h"

/* 8 chunks of bf16, which are the banks of shared memory. */
constexpr int DECODE_UNIT = 64;
constexpr int DECODE_THREADS = 256, DECODE_WARPS = DECODE_THREADS / WARP;
/* Positions of a tile: at most; a warp computes the scores of 8. Products of bf16 take 16 at a time. */
constexpr int DECODE_POSITIONS = 8 * DECODE_WARPS, DECODE_POSITIONS_LEAST = 16;

/* Internal linkage: the compilations for f32 and bf16 have types of the same names. */
namespace
{

/* One head of the rows of a cache. */
struct decode_cache {
    const void *rows;
    const float *scale; /* F8: of each row */
    dtype type;
    int row;      /* elements from row to row */
    int width;    /* elements of a head */
    int padded;   /* the same in a tile */
    bool vectors; /* heads start at whole vectors, and are multiples of them long */
};

/* The address of 16 bytes of a tile with rows of `padded` elements. */
__device__ __forceinline__ act *decode_chunk(act *tile, int padded, int row, int chunk)
{
    const int turn = ACT_TYPE == F32 ? 0 : row & 7;
    return tile + row * padded + (chunk ^ turn) * VEC;
}

/* A lane's share of a row: columns from `column` on, VEC at a time, of what is `from` in memory. */
template <class T>
__device__ __forceinline__ void decode_load_chunk(act *to, const T *from, int columns, bool vectors,
                                                  float scale)
{
    if (vectors) {
        if constexpr (sizeof(T) == sizeof(act)) {
            cp_async16(to, from);
        } else {
            float x[VEC];
            load(x, from);
#pragma unroll
            for (int e = 0; e < VEC; e++) x[e] *= scale;
            store(to, x);
        }
    } else {
        for (int e = 0; e < VEC; e++) to[e] = to_act(e < columns ? to_float(from[e]) * scale : 0.0f);
    }
}

/* Queues the copy of one row to a tile, by a warp; from NULL: zeros. */
template <class T>
__device__ __forceinline__ void decode_load_row(act *tile, int padded, int row, const T *from, int width,
                                                bool vectors, float scale)
{
    for (int chunk = threadIdx.x % WARP; chunk < padded / VEC; chunk += WARP) {
        act *to = decode_chunk(tile, padded, row, chunk);
        const int columns = width - chunk * VEC;
        if (from && columns > 0) {
            decode_load_chunk(to, from + chunk * VEC, columns, vectors, scale);
        } else {
            const float zeros[VEC] = {};
            store(to, zeros);
        }
    }
}

/* Row `slot` of the cache, its head that starts at column `column`, to row `row` of a tile; slot -1: zeros.
 */
template <class T>
__device__ __forceinline__ void decode_load_slot(act *tile, int row, const decode_cache &c, int64_t slot,
                                                 int column)
{
    const T *from = slot < 0 ? NULL : (const T *)c.rows + slot * c.row + column;
    const float scale = sizeof(T) == 1 && slot >= 0 ? c.scale[slot] : 1.0f;
    decode_load_row(tile, c.padded, row, from, c.width, c.vectors, scale);
}

/* Queues the copy of positions from, from + 1, ..., `positions` of them, to a tile: those before `end`; what
 * lies behind may be memory that nobody has written, and is zero in the tile. */
__device__ __forceinline__ void decode_load_tile(act *tile, int positions, const decode_cache &c, int column,
                                                 const int32_t *table, int page, int from, int end)
{
    /* A warp copies every DECODE_WARPS-th row. Its first lanes look up where they lie. */
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, mine = from + warp + lane * DECODE_WARPS;
    int slot = -1;
    if (lane < DECODE_POSITIONS / DECODE_WARPS && mine < end) slot = table[mine / page] * page + mine % page;
    for (int i = 0; warp + i * DECODE_WARPS < positions; i++) {
        const int row = warp + i * DECODE_WARPS, at = __shfl_sync(~0u, slot, i);
        if (c.type == BF16)
            decode_load_slot<__nv_bfloat16>(tile, row, c, at, column);
        else if (c.type == F8)
            decode_load_slot<f8>(tile, row, c, at, column);
        else
            decode_load_slot<float>(tile, row, c, at, column);
    }
}

} // namespace
#endif
