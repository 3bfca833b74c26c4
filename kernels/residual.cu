/* out = a + b, for the residual stream (act) and for sums (f32). Every element passes by once: 3 times its
 * size (6 bytes in bf16, 12 in f32). There is nothing to reuse, so a thread takes one vector and the grid is
 * as long as the tensor. */
#include "kernels/cuda/kernel.h"

enum { THREADS = 256 };

template <int V, class T>
static __global__ void __launch_bounds__(THREADS) add(T *out, const T *a, const T *b, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float x[V], y[V];
    load(x, a + i);
    load(y, b + i);
    for (int j = 0; j < V; j++) x[j] += y[j];
    store(out + i, x);
}

template <class T> static void sum_of(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    constexpr int V = 16 / (int)sizeof(T);
    T *o = data<T>(out);
    const T *x = data<T>(a), *y = data<T>(b);
    const int64_t n = tensor_numel(out), whole = in_vectors(n, V, aligned(o, x, y));
    LAUNCH((add<V, T>), blocks_for(whole / V, THREADS), THREADS, 0, s, o, x, y, whole);
    LAUNCH((add<1, T>), blocks_for(n - whole, THREADS), THREADS, 0, s, o + whole, x + whole, y + whole,
           n - whole);
}

void CUDA(residual_forward)(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    const int64_t N = out->dim[0], C = out->dim[1];
    REQUIRE_SHAPE(out, ACT_TYPE, N, C);
    REQUIRE_SHAPE(a, ACT_TYPE, N, C);
    REQUIRE_SHAPE(b, ACT_TYPE, N, C);
    REQUIRE_CONTIGUOUS(out);
    REQUIRE_CONTIGUOUS(a);
    REQUIRE_CONTIGUOUS(b);
    sum_of<act>(out, a, b, s);
}

void CUDA(add)(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    for (const tensor *t : {(const tensor *)out, a, b}) {
        tensor_require_shape(__func__, t, F32, out->rank, out->dim);
        REQUIRE_CONTIGUOUS(t);
    }
    sum_of<float>(out, a, b, s);
}
