/* Rows of keys and values into the cache and out of it, converted between `act` and what the cache holds. A
 * warp takes a row. F8 makes it read its row twice: for the largest number, then, out of the caches, for the
 * elements. */
#include "kernels/cuda/fp8.h"

enum { THREADS = 128, WARPS = THREADS / WARP };

/* Rows as the ops get them, `act`, and where they lie in the cache. */
struct rows {
    act *data;
    int64_t stride, count;
    int width;
    const int32_t *slot; /* (count) */
};

static __device__ inline int64_t row_of_warp() { return (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP; }

template <class T, int V>
static __global__ void __launch_bounds__(THREADS) write_rows(T *cache, float *scale, const rows r)
{
    const int64_t n = row_of_warp();
    if (n >= r.count) return;
    const act *from = r.data + n * r.stride;
    const int lane = threadIdx.x % WARP;
    const int64_t slot = r.slot[n];
    T *to = cache + slot * r.width;
    float unit = 1;
    if constexpr (sizeof(T) == 1) {
        float largest = 0;
        for (int i = lane * V; i < r.width; i += WARP * V) {
            float x[V];
            load(x, from + i);
#pragma unroll
            for (int j = 0; j < V; j++) largest = fmaxf(largest, fabsf(x[j]));
        }
        unit = warp_max(largest) / F8_LARGEST;
        if (lane == 0) scale[slot] = unit;
        if (unit == 0) unit = 1; /* zeros */
    }
    for (int i = lane * V; i < r.width; i += WARP * V) {
        float x[V];
        load(x, from + i);
        if constexpr (sizeof(T) == 1) {
#pragma unroll
            for (int j = 0; j < V; j++) x[j] /= unit;
        }
        store(to + i, x);
    }
}

template <class T, int V>
static __global__ void __launch_bounds__(THREADS) read_rows(const rows r, const T *cache, const float *scale)
{
    const int64_t n = row_of_warp();
    if (n >= r.count) return;
    const int64_t slot = r.slot[n];
    const T *from = cache + slot * r.width;
    const float factor = sizeof(T) == 1 ? scale[slot] : 1.0f;
    for (int i = threadIdx.x % WARP * V; i < r.width; i += WARP * V) {
        float x[V];
        load(x, from + i);
#pragma unroll
        for (int j = 0; j < V; j++) x[j] *= factor;
        store(r.data + n * r.stride + i, x);
    }
}

template <class T> static void write(const cached *out, const rows &r, bool vectors, stream *s)
{
    const int64_t blocks = blocks_for(r.count, WARPS);
    T *cache = data<T>(&out->rows);
    float *scale = data<float>(&out->scale);
    if (vectors)
        LAUNCH((write_rows<T, VEC>), blocks, THREADS, 0, s, cache, scale, r);
    else
        LAUNCH((write_rows<T, 1>), blocks, THREADS, 0, s, cache, scale, r);
}

template <class T> static void read(const rows &r, const cached *inp, bool vectors, stream *s)
{
    const int64_t blocks = blocks_for(r.count, WARPS);
    const T *cache = data<const T>(&inp->rows);
    const float *scale = data<const float>(&inp->scale);
    if (vectors)
        LAUNCH((read_rows<T, VEC>), blocks, THREADS, 0, s, r, cache, scale);
    else
        LAUNCH((read_rows<T, 1>), blocks, THREADS, 0, s, r, cache, scale);
}

/* Checks the arguments that both ops share. *vectors: rows of both sides can be moved in whole words. */
static rows rows_of(const char *function, const tensor *t, const cached *c, const tensor *slot, bool *vectors)
{
    const int64_t N = t->dim[0], width = t->dim[1], cache[] = {c->rows.dim[0], width};
    tensor_require_shape(function, t, ACT_TYPE, 2, t->dim);
    tensor_require_shape(function, &c->rows, c->rows.type, 2, cache);
    tensor_require_shape(function, slot, I32, 1, &N);
    REQUIRE_CONTIGUOUS(&c->rows);
    REQUIRE_CONTIGUOUS(slot);
    if (c->rows.type == F8) tensor_require_shape(function, &c->scale, F32, 1, c->rows.dim);
    const int64_t stride = N > 1 ? t->stride[0] : width;
    *vectors = width % VEC == 0 && stride % VEC == 0 && aligned(t->data, c->rows.data);
    return rows{data<act>(t), stride, N, (int)width, data<const int32_t>(slot)};
}

void CUDA(cache_write)(cached *out, const tensor *inp, const tensor *slot, stream *s)
{
    bool vectors;
    const rows r = rows_of(__func__, inp, out, slot, &vectors);
    switch (out->rows.type) {
    case F32:
        return write<float>(out, r, vectors, s);
    case BF16:
        return write<__nv_bfloat16>(out, r, vectors, s);
    case F8:
        return write<f8>(out, r, vectors, s);
    default:
        REQUIRE(false, "%s: a cache of %s", __func__, dtype_name(out->rows.type));
    }
}

void CUDA(cache_read)(tensor *out, const cached *inp, const tensor *slot, stream *s)
{
    bool vectors;
    const rows r = rows_of(__func__, out, inp, slot, &vectors);
    switch (inp->rows.type) {
    case F32:
        return read<float>(r, inp, vectors, s);
    case BF16:
        return read<__nv_bfloat16>(r, inp, vectors, s);
    case F8:
        return read<f8>(r, inp, vectors, s);
    default:
        REQUIRE(false, "%s: a cache of %s", __func__, dtype_name(inp->rows.type));
    }
}
