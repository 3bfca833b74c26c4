/* Root-mean-square norm of rows. Gradients of the input are divided over the threads by rows; the gradient
 * of the weight sums over all rows, so it is divided by columns: every column is added up in the same
 * order with any number of threads. */
#include "kernels/cpu/cpu.h"
#include <stdbool.h>

enum {
    SLICE = 64, /* columns of dweight at a time: whole cache lines, and sums that stay in registers */
    STRETCH =
        256 /* rows that are summed before their sum is added to the total: keeps float rounding small */
};

/* (N,C): where its rows start. */
typedef struct rows {
    real *data;
    int64_t stride;
} rows;
static rows rmsnorm_rows(const tensor *t) { return (rows){t->data, t->stride[0]}; }
static real *row(rows r, int64_t n) { return r.data + n * r.stride; }

static void forward(rows out, real *rstd, rows inp, const real *weight, int64_t N, int64_t C, real eps)
{
#pragma omp parallel for schedule(static) if (N * C >= SHARED)
    for (int64_t n = 0; n < N; n++) {
        const real *x = row(inp, n);
        real *y = row(out, n);
        real squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < C; c++) squares += x[c] * x[c];
        const real r = 1 / REAL(sqrt)(squares / (real)C + eps);
#pragma omp simd
        for (int64_t c = 0; c < C; c++) y[c] = x[c] * r * weight[c];
        rstd[n] = r;
    }
}

static void input_gradient(rows dinp, rows dout, rows inp, const real *weight, const real *rstd, int64_t N,
                           int64_t C, bool add)
{
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < N; n++) {
        const real *x = row(inp, n), *dy = row(dout, n);
        real *dx = row(dinp, n);
        real dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t c = 0; c < C; c++) dot += dy[c] * weight[c] * x[c];
        /* rstd * y * mean(dout*weight*y) with y = x*rstd taken apart, so that y needs no memory. */
        const real r = rstd[n], along = r * r * r * dot / (real)C;
#pragma omp simd
        for (int64_t c = 0; c < C; c++) {
            const real d = r * dy[c] * weight[c] - along * x[c];
            dx[c] = add ? dx[c] + d : d;
        }
    }
}

static void weight_gradient(real *dweight, rows dout, rows inp, const real *rstd, int64_t N, int64_t C)
{
#pragma omp parallel for schedule(static)
    for (int64_t from = 0; from < C; from += SLICE) {
        const int64_t width = C - from < SLICE ? C - from : SLICE;
        for (int64_t first = 0; first < N; first += STRETCH) {
            const int64_t end = N - first < STRETCH ? N : first + STRETCH;
            real sum[SLICE] = {0};
            for (int64_t n = first; n < end; n++) {
                const real *x = row(inp, n) + from, *dy = row(dout, n) + from;
                const real r = rstd[n];
#pragma omp simd
                for (int64_t c = 0; c < width; c++) sum[c] += dy[c] * (x[c] * r);
            }
            for (int64_t c = 0; c < width; c++) dweight[from + c] += sum[c];
        }
    }
}

static void backward(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                     const tensor *weight, const tensor *rstd, bool add)
{
    const int64_t N = inp->dim[0], C = inp->dim[1];
    REQUIRE_SHAPE(dinp, REAL_TYPE, N, C);
    REQUIRE_SHAPE(dweight, REAL_TYPE, C);
    REQUIRE_SHAPE(dout, REAL_TYPE, N, C);
    REQUIRE_SHAPE(inp, REAL_TYPE, N, C);
    REQUIRE_SHAPE(weight, REAL_TYPE, C);
    REQUIRE_SHAPE(rstd, REAL_TYPE, N);
    input_gradient(rmsnorm_rows(dinp), rmsnorm_rows(dout), rmsnorm_rows(inp), weight->data, rstd->data, N, C,
                   add);
    weight_gradient(dweight->data, rmsnorm_rows(dout), rmsnorm_rows(inp), rstd->data, N, C);
}

void CPU(rmsnorm_forward)(tensor *out, tensor *rstd, const tensor *inp, const tensor *weight, double eps,
                          stream *s)
{
    (void)s;
    const int64_t N = inp->dim[0], C = inp->dim[1];
    REQUIRE_SHAPE(out, REAL_TYPE, N, C);
    REQUIRE_SHAPE(rstd, REAL_TYPE, N);
    REQUIRE_SHAPE(inp, REAL_TYPE, N, C);
    REQUIRE_SHAPE(weight, REAL_TYPE, C);
    forward(rmsnorm_rows(out), rstd->data, rmsnorm_rows(inp), weight->data, N, C, (real)eps);
}

void CPU(rmsnorm_backward)(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                           const tensor *weight, const tensor *rstd, stream *s)
{
    (void)s;
    backward(dinp, dweight, dout, inp, weight, rstd, false);
}

void CPU(rmsnorm_backward_add)(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                               const tensor *weight, const tensor *rstd, stream *s)
{
    (void)s;
    backward(dinp, dweight, dout, inp, weight, rstd, true);
}
