/* out = a + b. Every element passes by once: 3 sizeof(act) bytes (6 in bf16, 12 in f32). There is nothing to
 * reuse, so a thread takes one vector and the grid is as long as the tensor. */
#include "kernels/cuda/kernel.h"

enum { THREADS = 256 };

template <int V>
static __global__ void __launch_bounds__(THREADS) add(act *out, const act *a, const act *b, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float x[V], y[V];
    load(x, a + i);
    load(y, b + i);
    for (int j = 0; j < V; j++) x[j] += y[j];
    store(out + i, x);
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
    act *o = data<act>(out);
    const act *x = data<act>(a), *y = data<act>(b);
    const int64_t n = N * C, whole = in_vectors(n, VEC, aligned(o, x, y));
    LAUNCH(add<VEC>, blocks_for(whole / VEC, THREADS), THREADS, 0, s, o, x, y, whole);
    LAUNCH(add<1>, blocks_for(n - whole, THREADS), THREADS, 0, s, o + whole, x + whole, y + whole, n - whole);
}
