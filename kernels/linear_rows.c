/* Linear layers whose rows do not depend on each other's company. */
#include "kernels/cpu/cpu.h"

void CPU(linear_rows)(tensor *out, operand input, operand weights, const tensor *bias, stream *s)
{
    (void)s;
    const tensor *inp = input.value, *weight = weights.value;
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    REQUIRE_SHAPE(inp, REAL_TYPE, N, K);
    REQUIRE_SHAPE(weight, REAL_TYPE, O, K);
    REQUIRE_SHAPE(out, REAL_TYPE, N, O);
    REQUIRE_CONTIGUOUS(weight);
    if (bias) REQUIRE_SHAPE(bias, REAL_TYPE, O);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < O; o++)
        for (int64_t n = 0; n < N; n++) {
            const real *x = (const real *)inp->data + n * inp->stride[0],
                       *w = (const real *)weight->data + o * K;
            real dot = 0;
            for (int64_t i = 0; i < K; i++) dot += x[i] * w[i];
            ((real *)out->data)[n * out->stride[0] + o] = bias ? dot + ((const real *)bias->data)[o] : dot;
        }
}
