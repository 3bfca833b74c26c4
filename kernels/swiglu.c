/* silu(gate) * up and its gradients, element by element. Blocks of fixed size, so that vector and leftover
 * elements are the same ones with any number of threads. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vmath.h"

enum { BLOCK = 4096 };

static inline real sigmoid(real x) { return 1 / (1 + real_exp(-x)); }

static void forward(real *out, const real *gate, const real *up, int64_t n)
{
#pragma omp parallel for schedule(static) if (n >= SHARED)
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = n - from < BLOCK ? n : from + BLOCK;
#pragma omp simd
        for (int64_t i = from; i < to; i++) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
}

static void backward(real *dgate, real *dup, const real *dout, const real *gate, const real *up, int64_t n)
{
#pragma omp parallel for schedule(static)
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = n - from < BLOCK ? n : from + BLOCK;
#pragma omp simd
        for (int64_t i = from; i < to; i++) {
            /* Read before dgate is written: it may be dout. */
            const real d = dout[i], g = gate[i], sig = sigmoid(g);
            dup[i] = d * g * sig;
            dgate[i] = d * up[i] * sig * (1 + g * (1 - sig));
        }
    }
}

static void require_rows(const char *function, const tensor *t, int64_t N, int64_t F)
{
    tensor_require_shape(function, t, REAL_TYPE, 2, (int64_t[]){N, F});
    REQUIRE_CONTIGUOUS(t);
}

void CPU(swiglu_forward)(tensor *out, const tensor *gate, const tensor *up, stream *s)
{
    (void)s;
    const int64_t N = gate->dim[0], F = gate->dim[1];
    require_rows(__func__, out, N, F);
    require_rows(__func__, gate, N, F);
    require_rows(__func__, up, N, F);
    forward(out->data, gate->data, up->data, N * F);
}

void CPU(swiglu_backward)(tensor *dgate, tensor *dup, const tensor *dout, const tensor *gate,
                          const tensor *up, stream *s)
{
    (void)s;
    const int64_t N = gate->dim[0], F = gate->dim[1];
    require_rows(__func__, dgate, N, F);
    require_rows(__func__, dup, N, F);
    require_rows(__func__, dout, N, F);
    require_rows(__func__, gate, N, F);
    require_rows(__func__, up, N, F);
    backward(dgate->data, dup->data, dout->data, gate->data, up->data, N * F);
}
