/* Rows of a cache, copied as they are stored: a warp takes a row, a word at a time where the width allows. */
#include "kernels/cuda/kernel.h"

enum { THREADS = 128, WARPS = THREADS / WARP };

template <class T>
static __global__ void __launch_bounds__(THREADS)
    copy_rows(T *rows, float *scale, const int32_t *to, const int32_t *from, int64_t count, int width)
{
    const int64_t n = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (n >= count) return;
    T *out = rows + (int64_t)to[n] * width;
    const T *inp = rows + (int64_t)from[n] * width;
    const int lane = threadIdx.x % WARP;
    for (int i = lane; i < width; i += WARP) out[i] = inp[i];
    if (scale && lane == 0) scale[to[n]] = scale[from[n]];
}

void CUDA(cache_copy)(cached *x, const tensor *to, const tensor *from, stream *s)
{
    const int64_t N = to->dim[0], bytes = x->rows.dim[1] * dtype_bytes(x->rows.type),
                  blocks = blocks_for(N, WARPS);
    REQUIRE_SHAPE(&x->rows, x->rows.type, x->rows.dim[0], x->rows.dim[1]);
    REQUIRE_CONTIGUOUS(&x->rows);
    REQUIRE_SHAPE(to, I32, N);
    REQUIRE_SHAPE(from, I32, N);
    REQUIRE_CONTIGUOUS(to);
    REQUIRE_CONTIGUOUS(from);
    float *scale = x->rows.type == F8 ? data<float>(&x->scale) : (float *)0;
    if (x->rows.type == F8) REQUIRE_SHAPE(&x->scale, F32, x->rows.dim[0]);
    const int32_t *t = data<const int32_t>(to), *f = data<const int32_t>(from);
    if (bytes % 4 == 0)
        LAUNCH(copy_rows<uint32_t>, blocks, THREADS, 0, s, data<uint32_t>(&x->rows), scale, t, f, N,
               (int)(bytes / 4));
    else
        LAUNCH(copy_rows<uint8_t>, blocks, THREADS, 0, s, data<uint8_t>(&x->rows), scale, t, f, N,
               (int)bytes);
}
