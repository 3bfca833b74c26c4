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
    int raw;      /* bytes of a head as it is in memory, where it has to be converted; else 0 */
    bool vectors; /* heads start at multiples of 16 bytes, and are whole packs long */
};

/* Elements that a lane copies at a time: 16 bytes of either side at least. */
template <class T> constexpr int DECODE_PACK = 16 / (int)sizeof(T) > VEC ? 16 / (int)sizeof(T) : VEC;

/* The address of 16 bytes of a tile with rows of `padded` elements. */
__device__ __forceinline__ act *decode_chunk(act *tile, int padded, int row, int chunk)
{
    const int turn = ACT_TYPE == F32 ? 0 : row & 7;
    return tile + row * padded + (chunk ^ turn) * VEC;
}

/* Queues the copy of a row of `width` elements to a row of a tile, by a warp; from NULL: zeros. */
__device__ __forceinline__ void decode_load_row(act *tile, int padded, int row, const act *from, int width,
                                                bool vectors)
{
    for (int chunk = threadIdx.x % WARP; chunk < padded / VEC; chunk += WARP) {
        act *to = decode_chunk(tile, padded, row, chunk);
        const int columns = from ? width - chunk * VEC : 0;
        if (columns > 0 && vectors) {
            cp_async16(to, from + chunk * VEC);
        } else {
            for (int e = 0; e < VEC; e++) to[e] = e < columns ? from[chunk * VEC + e] : to_act(0);
        }
    }
}

/* Queues the copy of a row as it is, to be converted later by the same lanes. */
template <class T>
__device__ __forceinline__ void decode_load_raw(T *to, const T *from, int width, bool vectors)
{
    constexpr int PACK = DECODE_PACK<T>;
    for (int at = threadIdx.x % WARP * PACK; at < width; at += WARP * PACK) {
        if (vectors) {
#pragma unroll
            for (int e = 0; e < PACK; e += 16 / (int)sizeof(T)) cp_async16(to + at + e, from + at + e);
        } else {
            for (int e = at; e < min(at + PACK, width); e++) to[e] = from[e];
        }
    }
}

/* Queues the copy of positions from, from + 1, ..., `positions` of them, to a tile, or to `raw` where they
 * have to be converted: those before `end`. A warp takes every DECODE_WARPS-th row. Returns, in lane i, the
 * scale of the warp's i-th row. */
__device__ __forceinline__ float decode_load_tile(act *tile, unsigned char *raw, int positions,
                                                  const decode_cache &c, int column, const int32_t *table,
                                                  int page, int from, int end)
{
    /* A warp's first lanes look up where its rows lie. */
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, mine = from + warp + lane * DECODE_WARPS;
    int slot = -1;
    if (lane < DECODE_POSITIONS / DECODE_WARPS && mine < end) slot = table[mine / page] * page + mine % page;
#pragma unroll 1
    for (int i = 0; warp + i * DECODE_WARPS < positions; i++) {
        const int row = warp + i * DECODE_WARPS;
        const int64_t at = __shfl_sync(~0u, slot, i), first = at * c.row + column;
        if (c.raw == 0)
            decode_load_row(tile, c.padded, row, at < 0 ? NULL : (const act *)c.rows + first, c.width,
                            c.vectors);
        else if (at < 0)
            continue;
        else if (c.type == F8)
            decode_load_raw((f8 *)(raw + row * c.raw), (const f8 *)c.rows + first, c.width, c.vectors);
        else if (c.type == BF16)
            decode_load_raw((__nv_bfloat16 *)(raw + row * c.raw), (const __nv_bfloat16 *)c.rows + first,
                            c.width, c.vectors);
        else
            decode_load_raw((float *)(raw + row * c.raw), (const float *)c.rows + first, c.width, c.vectors);
    }
    return c.scale && slot >= 0 ? c.scale[slot] : 1.0f;
}

/* A row of a tile from what decode_load_raw has brought; from NULL: zeros. */
template <class T>
__device__ __forceinline__ void decode_convert_row(act *tile, int row, const T *from, float scale,
                                                   const decode_cache &c)
{
    constexpr int PACK = DECODE_PACK<T>;
    for (int at = threadIdx.x % WARP * PACK; at < c.padded; at += WARP * PACK) {
#pragma unroll
        for (int part = at; part < at + PACK; part += VEC) {
            float x[VEC] = {};
            if (from && part < c.width) {
                if (c.vectors)
                    load(x, from + part);
                else
                    for (int e = 0; e < min(VEC, c.width - part); e++) x[e] = to_float(from[part + e]);
            }
#pragma unroll
            for (int e = 0; e < VEC; e++) x[e] *= scale;
            store(decode_chunk(tile, c.padded, row, part / VEC), x);
        }
    }
}

/* The tile of positions from, from + 1, ... out of `raw`. What lies from `end` on is zero in the tile: in
 * memory it may be what nobody has written. */
__device__ __forceinline__ void decode_convert_tile(act *tile, const unsigned char *raw, int positions,
                                                    const decode_cache &c, float scale, int from, int end)
{
    const int warp = threadIdx.x / WARP;
#pragma unroll 1
    for (int i = 0; warp + i * DECODE_WARPS < positions; i++) {
        const int row = warp + i * DECODE_WARPS;
        const float of_row = __shfl_sync(~0u, scale, i);
        const unsigned char *at = from + row < end ? raw + row * c.raw : NULL;
        if (c.type == F8)
            decode_convert_row(tile, row, (const f8 *)at, of_row, c);
        else if (c.type == BF16)
            decode_convert_row(tile, row, (const __nv_bfloat16 *)at, of_row, c);
        else
            decode_convert_row(tile, row, (const float *)at, of_row, c);
    }
}

} // namespace
#endif
