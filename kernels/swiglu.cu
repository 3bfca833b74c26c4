/* silu(gate) * up and its gradients, element by element. Forward moves 3 sizeof(act) bytes per element (6 in
 * bf16), backward 5 (10 in bf16): far more time than the exponential and the division take, so both are the
 * exact ones. A thread takes one vector and the grid is as long as the tensor. */
#include "kernels/cuda/kernel.h"

enum { THREADS = 256 };

/* 0 and 1 far out, where the exponential is infinite or 0. */
static __device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

template <int V>
static __global__ void __launch_bounds__(THREADS) gated(act *out, const act *gate, const act *up, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float g[V], u[V];
    load(g, gate + i);
    load(u, up + i);
    for (int j = 0; j < V; j++) u[j] *= g[j] * sigmoid(g[j]);
    store(out + i, u);
}

/* Everything is read before anything is written: dgate may be dout. */
template <int V>
static __global__ void __launch_bounds__(THREADS)
    gradients(act *dgate, act *dup, const act *dout, const act *gate, const act *up, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float d[V], g[V], u[V];
    load(d, dout + i);
    load(g, gate + i);
    load(u, up + i);
    for (int j = 0; j < V; j++) {
        const float sig = sigmoid(g[j]), dgate_by_d = u[j] * sig * (1 + g[j] * (1 - sig));
        u[j] = d[j] * g[j] * sig;
        d[j] *= dgate_by_d;
    }
    store(dup + i, u);
    store(dgate + i, d);
}

static void require_rows(const char *function, const tensor *t, int64_t N, int64_t F)
{
    const int64_t dim[] = {N, F};
    tensor_require_shape(function, t, ACT_TYPE, 2, dim);
    REQUIRE_CONTIGUOUS(t);
}

void CUDA(swiglu_forward)(tensor *out, const tensor *gate, const tensor *up, stream *s)
{
    const int64_t N = gate->dim[0], F = gate->dim[1];
    require_rows(__func__, out, N, F);
    require_rows(__func__, gate, N, F);
    require_rows(__func__, up, N, F);
    act *o = data<act>(out);
    const act *g = data<act>(gate), *u = data<act>(up);
    const int64_t n = N * F, whole = in_vectors(n, VEC, aligned(o, g, u));
    LAUNCH(gated<VEC>, blocks_for(whole / VEC, THREADS), THREADS, 0, s, o, g, u, whole);
    LAUNCH(gated<1>, blocks_for(n - whole, THREADS), THREADS, 0, s, o + whole, g + whole, u + whole,
           n - whole);
}

void CUDA(swiglu_backward)(tensor *dgate, tensor *dup, const tensor *dout, const tensor *gate,
                           const tensor *up, stream *s)
{
    const int64_t N = gate->dim[0], F = gate->dim[1];
    require_rows(__func__, dgate, N, F);
    require_rows(__func__, dup, N, F);
    require_rows(__func__, dout, N, F);
    require_rows(__func__, gate, N, F);
    require_rows(__func__, up, N, F);
    act *dg = data<act>(dgate), *du = data<act>(dup);
    const act *d = data<act>(dout), *g = data<act>(gate), *u = data<act>(up);
    const int64_t n = N * F, whole = in_vectors(n, VEC, aligned(dg, du, d, g, u));
    LAUNCH(gradients<VEC>, blocks_for(whole / VEC, THREADS), THREADS, 0, s, dg, du, d, g, u, whole);
    LAUNCH(gradients<1>, blocks_for(n - whole, THREADS), THREADS, 0, s, dg + whole, du + whole, d + whole,
           g + whole, u + whole, n - whole);
}
