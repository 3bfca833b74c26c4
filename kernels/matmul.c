/* Linear layers: one matrix product each (kernels/cpu/blas.h), plus the bias and its gradient. Forward
 * multiplies by the weight, the input's gradient by the same weight from the other side, the weight's
 * gradient is dout times the input. The last two are products of their own, so either can be left out. */
#include "kernels/cpu/linear.h"
#include <stddef.h>

/* Rows may be strided: the row stride is the leading dimension that the library asks for. */
static int64_t row_stride(const tensor *t) { return t->dim[0] > 1 ? t->stride[0] : t->dim[1]; }

void CPU(matmul_forward)(tensor *out, operand input, operand weights, const tensor *bias, stream *s)
{
    (void)s;
    const tensor *inp = input.value, *weight = weights.value;
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    require_linear(__func__, out, inp, weight, bias);
    if (bias) {
        const real *from = bias->data;
        /* The product is then added to the bias. */
#pragma omp parallel for
        for (int64_t n = 0; n < N; n++) {
            real *row = (real *)out->data + n * row_stride(out);
            for (int64_t o = 0; o < O; o++) row[o] = from[o];
        }
    }
    gemm(false, true, N, O, K, 1, inp->data, row_stride(inp), weight->data, K, bias ? 1 : 0, out->data,
         row_stride(out));
}

/* dbias += sums over the rows of dout: each piece of columns by one thread, rows in order, in double. */
static void add_column_sums(real *dbias, const real *dout, int64_t stride, int64_t N, int64_t O)
{
    enum { PIECE = 64 };
#pragma omp parallel for
    for (int64_t from = 0; from < O; from += PIECE) {
        const int64_t width = O - from < PIECE ? O - from : PIECE;
        double sum[PIECE] = {0};
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = 0; i < width; i++) sum[i] += (double)dout[n * stride + from + i];
        for (int64_t i = 0; i < width; i++) dbias[from + i] += (real)sum[i];
    }
}

static void backward(const char *function, tensor *dinp, tensor *dweight, tensor *dbias, operand gradient,
                     operand input, operand weights, double keep)
{
    const tensor *dout = gradient.value, *inp = input.value, *weight = weights.value;
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    require_linear(function, dout, inp, weight, NULL);
    if (dinp) {
        tensor_require_shape(function, dinp, REAL_TYPE, 2, (const int64_t[]){N, K});
        gemm(false, false, N, K, O, 1, dout->data, row_stride(dout), weight->data, K, keep, dinp->data,
             row_stride(dinp));
    }
    if (dweight) {
        tensor_require_shape(function, dweight, REAL_TYPE, 2, (const int64_t[]){O, K});
        REQUIRE_CONTIGUOUS(dweight);
        gemm(true, false, O, K, N, 1, dout->data, row_stride(dout), inp->data, row_stride(inp), 1,
             dweight->data, K);
    }
    if (dbias) {
        tensor_require_shape(function, dbias, REAL_TYPE, 1, (const int64_t[]){O});
        add_column_sums(dbias->data, dout->data, row_stride(dout), N, O);
    }
}

void CPU(matmul_backward)(tensor *dinp, tensor *dweight, tensor *dbias, operand dout, operand inp,
                          operand weight, stream *s)
{
    (void)s;
    backward(__func__, dinp, dweight, dbias, dout, inp, weight, 0);
}

void CPU(matmul_backward_add)(tensor *dinp, tensor *dweight, tensor *dbias, operand dout, operand inp,
                              operand weight, stream *s)
{
    (void)s;
    backward(__func__, dinp, dweight, dbias, dout, inp, weight, 1);
}
