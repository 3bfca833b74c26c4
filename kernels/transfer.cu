/* Between host memory and tensors: pieces go through the pinned ring and, on the device's side, through the
 * stream's scratch, between which and the tensor, of whatever type and strides, a kernel carries them. It
 * moves 6 to 16 bytes per element, one at a time: the bus, at 4 or 8 bytes per element, is an order of
 * magnitude slower. A thread takes EACH elements, and the grid is as long as the piece. */
#include "kernels/cuda/kernel.h"
#include <string.h>

enum { THREADS = 256, EACH = 8 };

/* Where the elements of a tensor lie; `dense`: side by side. Axes that it does not have, of size 1, come
 * first. */
typedef struct places {
    bool dense;
    int64_t dim[TENSOR_MAX_RANK], stride[TENSOR_MAX_RANK];
} places;

static places places_of(const tensor *t)
{
    places p = {tensor_contiguous(t), {1, 1, 1, 1}, {0, 0, 0, 0}};
    for (int axis = 0; axis < t->rank; axis++) {
        p.dim[TENSOR_MAX_RANK - t->rank + axis] = t->dim[axis];
        p.stride[TENSOR_MAX_RANK - t->rank + axis] = t->stride[axis];
    }
    return p;
}

static __device__ int64_t place(const places &p, int64_t i)
{
    if (p.dense) return i;
    int64_t offset = 0;
#pragma unroll
    for (int axis = TENSOR_MAX_RANK - 1; axis >= 0; axis--) {
        offset += i % p.dim[axis] * p.stride[axis];
        i /= p.dim[axis];
    }
    return offset;
}

/* A number of any type as another one, rounded to nearest even. */
template <class To, class From> static __device__ void convert(To *to, From x)
{
    if constexpr (sizeof(From) == 2)
        *to = (To)to_float(x);
    else if constexpr (sizeof(To) == 2)
        from_float(to, x);
    else
        *to = (To)x;
}

/* Elements first to first+n-1 of a tensor, from and to memory where they lie side by side. */
template <class T, class H>
static __global__ void __launch_bounds__(THREADS)
    scatter(T *to, places p, const H *from, int64_t first, int64_t n)
{
    const int64_t begin = (int64_t)blockIdx.x * THREADS * EACH + threadIdx.x;
    for (int j = 0; j < EACH; j++) {
        const int64_t i = begin + j * THREADS;
        if (i < n) convert(to + place(p, first + i), from[i]);
    }
}

template <class T, class H>
static __global__ void __launch_bounds__(THREADS)
    gather(H *to, const T *from, places p, int64_t first, int64_t n)
{
    const int64_t begin = (int64_t)blockIdx.x * THREADS * EACH + threadIdx.x;
    for (int j = 0; j < EACH; j++) {
        const int64_t i = begin + j * THREADS;
        if (i < n) convert(to + i, from[place(p, first + i)]);
    }
}

template <class T, class H> static void upload_as(tensor *out, const H *inp, stream *s)
{
    const int64_t n = tensor_numel(out), piece = STAGING_BYTES / (int64_t)sizeof(H);
    const places p = places_of(out);
    for (int64_t first = 0; first < n; first += piece) {
        const int64_t count = n - first < piece ? n - first : piece, bytes = count * (int64_t)sizeof(H);
        staging_slot *slot = staging_take(s, bytes);
        memcpy(slot->host, inp + first, (size_t)bytes);
        H *bounce = workspace<H>(s, count);
        CUDA_OK(cudaMemcpyAsync(bounce, slot->host, (size_t)bytes, cudaMemcpyHostToDevice, s->cuda));
        staging_queued(s, slot);
        LAUNCH((scatter<T, H>), blocks_for(count, THREADS * EACH), THREADS, 0, s, data<T>(out), p, bounce,
               first, count);
    }
}

/* While the device brings a piece, those before it are on the way or read: all slots are in use. */
template <class T, class H> static void download_as(H *out, const tensor *inp, stream *s)
{
    const int64_t n = tensor_numel(inp), piece = STAGING_BYTES / (int64_t)sizeof(H),
                  num = blocks_for(n, piece);
    const places p = places_of(inp);
    staging_slot *slots[STAGING_SLOTS];
    for (int64_t i = 0; i < num + STAGING_SLOTS - 1; i++) {
        if (i < num) {
            const int64_t first = i * piece, count = n - first < piece ? n - first : piece;
            const size_t bytes = (size_t)count * sizeof(H);
            H *bounce = workspace<H>(s, count);
            LAUNCH((gather<T, H>), blocks_for(count, THREADS * EACH), THREADS, 0, s, bounce, data<T>(inp), p,
                   first, count);
            staging_slot *slot = slots[i % STAGING_SLOTS] = staging_take(s, (int64_t)bytes);
            CUDA_OK(cudaMemcpyAsync(slot->host, bounce, bytes, cudaMemcpyDeviceToHost, s->cuda));
            staging_queued(s, slot);
        }
        const int64_t oldest = i - (STAGING_SLOTS - 1);
        if (oldest >= 0) {
            const int64_t first = oldest * piece, count = n - first < piece ? n - first : piece;
            staging_wait(s, slots[oldest % STAGING_SLOTS]);
            memcpy(out + first, slots[oldest % STAGING_SLOTS]->host, (size_t)count * sizeof(H));
        }
    }
}

static void require_number(const tensor *t)
{
    REQUIRE(t->type == ACT_TYPE || t->type == F32 || t->type == F64, "%s is %s, expected %s, f32 or f64",
            t->name, dtype_name(t->type), dtype_name(ACT_TYPE));
}

void CUDA(upload)(tensor *out, const float *inp, stream *s)
{
    require_number(out);
    if (out->type == F32)
        upload_as<float>(out, inp, s);
    else if (out->type == F64)
        upload_as<double>(out, inp, s);
    else
        upload_as<act>(out, inp, s);
}

void CUDA(upload_i32)(tensor *out, const int32_t *inp, stream *s)
{
    REQUIRE(out->type == I32, "%s is %s, expected i32", out->name, dtype_name(out->type));
    upload_as<int32_t>(out, inp, s);
}

template <class H> static void download_any(H *out, const tensor *inp, stream *s)
{
    require_number(inp);
    if (inp->type == F32)
        download_as<float>(out, inp, s);
    else if (inp->type == F64)
        download_as<double>(out, inp, s);
    else
        download_as<act>(out, inp, s);
}

void CUDA(download)(float *out, const tensor *inp, stream *s) { download_any(out, inp, s); }

void CUDA(download_f64)(double *out, const tensor *inp, stream *s) { download_any(out, inp, s); }

void CUDA(download_u64)(uint64_t *out, const tensor *inp, stream *s)
{
    REQUIRE(inp->type == U64, "%s is %s, expected u64", inp->name, dtype_name(inp->type));
    download_as<uint64_t>(out, inp, s);
}

void CUDA(zero)(tensor *out, stream *s)
{
    REQUIRE_CONTIGUOUS(out);
    const size_t bytes = (size_t)(tensor_numel(out) * dtype_bytes(out->type));
    CUDA_OK(cudaMemsetAsync(out->data, 0, bytes, s->cuda));
}
