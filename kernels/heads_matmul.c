/* A matrix for each head. */
#include "kernels/cpu/cpu.h"

void CPU(heads_matmul)(tensor *out, const tensor *inp, const tensor *weight, bool transposed, stream *s)
{
    (void)s;
    const int64_t N = inp->dim[0], H = inp->dim[1], K = inp->dim[2], O = weight->dim[transposed ? 2 : 1];
    REQUIRE_SHAPE(inp, REAL_TYPE, N, H, K);
    REQUIRE_SHAPE(out, REAL_TYPE, N, H, O);
    REQUIRE_SHAPE(weight, REAL_TYPE, H, transposed ? K : O, transposed ? O : K);
    const int64_t along = transposed ? weight->stride[1] : 1, across = transposed ? 1 : weight->stride[1];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < N * H; i++) {
        const int64_t n = i / H, h = i % H;
        const real *x = (const real *)inp->data + n * inp->stride[0] + h * inp->stride[1],
                   *w = (const real *)weight->data + h * weight->stride[0];
        real *y = (real *)out->data + n * out->stride[0] + h * out->stride[1];
        for (int64_t o = 0; o < O; o++) {
            real dot = 0;
            for (int64_t k = 0; k < K; k++) dot += x[k] * w[o * across + k * along];
            y[o] = dot;
        }
    }
}
