/* Linear layers: one product of cuBLAS each (kernels/cuda/gemm.h), plus the bias and its gradient.
 *
 * Forward writes the bias to every row of `out` first and the product is added to it in cuBLAS's registers:
 * as much traffic as a kernel that adds it afterwards (two writes and a read of `out`), but one rounding
 * instead of two. The gradient of the bias reads dout once: pieces of rows into partial sums in the
 * workspace, which a second kernel adds up in order. How rows are cut depends on the shape alone. */
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/partial_sums.h"

enum { THREADS = 128, BIAS_ROWS = 16, SUM_ROWS = 32, MAX_PIECES = 256, MAX_GRID_Y = 65535 };

template <int V>
static __global__ void __launch_bounds__(THREADS)
    copy_to_rows(act *out, int64_t stride, const act *bias, int64_t N, int64_t O)
{
    const int64_t o = thread_index() * V;
    if (o >= O) return;
    float x[V];
    load(x, bias + o);
    for (int64_t n = blockIdx.y; n < N; n += gridDim.y) store(out + n * stride + o, x);
}

/* partial[piece][o] = the sum of column o over rows piece, piece + pieces, ... */
template <int V>
static __global__ void __launch_bounds__(THREADS)
    sum_rows(float *partial, const act *dout, int64_t stride, int64_t N, int64_t O)
{
    const int64_t o = thread_index() * V;
    if (o >= O) return;
    float sum[V] = {};
#pragma unroll 4
    for (int64_t n = blockIdx.y; n < N; n += gridDim.y) {
        float x[V];
        load(x, dout + n * stride + o);
        for (int j = 0; j < V; j++) sum[j] += x[j];
    }
    for (int j = 0; j < V; j++) partial[blockIdx.y * O + o + j] = sum[j];
}

/* Rows may be strided: the row stride is the leading dimension that the library asks for. */
static int64_t row_stride(const tensor *t) { return t->dim[0] > 1 ? t->stride[0] : t->dim[1]; }
static matrix matrix_of(const tensor *t) { return matrix{t->data, t->type, row_stride(t), 0}; }

static void require_matrix(const char *function, const tensor *t, dtype type, int64_t rows, int64_t columns)
{
    const int64_t dim[] = {rows, columns};
    tensor_require_shape(function, t, type, 2, dim);
}

/* Blocks that cover `threads` columns of threads, times `rows` blocks. */
static dim3 grid(int64_t threads, int64_t rows)
{
    return dim3((unsigned)blocks_for(threads, THREADS), (unsigned)rows);
}

/* Whether all rows of t can be read and written in whole vectors. */
static bool whole_vectors(const tensor *t)
{
    return t->dim[1] % VEC == 0 && row_stride(t) % VEC == 0 && aligned(t->data);
}

void CUDA(matmul_forward)(tensor *out, operand input, operand weights, const tensor *bias, stream *s)
{
    const tensor *inp = input.value, *weight = weights.value;
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    require_matrix(__func__, inp, ACT_TYPE, N, K);
    require_matrix(__func__, weight, ACT_TYPE, O, K);
    require_matrix(__func__, out, ACT_TYPE, N, O);
    REQUIRE_CONTIGUOUS(weight);
    if (bias) {
        tensor_require_shape(__func__, bias, ACT_TYPE, 1, &O);
        act *to = data<act>(out);
        const act *from = data<act>(bias);
        const int64_t rows = smaller(blocks_for(N, BIAS_ROWS), MAX_GRID_Y);
        if (whole_vectors(out) && aligned(from))
            CUDA_OK(SIMT_LAUNCH(copy_to_rows<VEC>, grid(O / VEC, rows), dim3(THREADS), 0, s->cuda, to,
                                row_stride(out), from, N, O));
        else
            CUDA_OK(SIMT_LAUNCH(copy_to_rows<1>, grid(O, rows), dim3(THREADS), 0, s->cuda, to,
                                row_stride(out), from, N, O));
    }
    cuda_gemm(s, false, true, N, O, K, 1, matrix_of(inp), matrix_of(weight), bias ? 1 : 0, matrix_of(out));
}

/* dbias += sums over the rows of dout. */
static void add_column_sums(tensor *dbias, const tensor *dout, stream *s)
{
    const int64_t N = dout->dim[0], O = dout->dim[1];
    const int64_t pieces = smaller(blocks_for(N, SUM_ROWS), MAX_PIECES);
    float *partial = workspace<float>(s, pieces * O);
    const act *from = data<act>(dout);
    if (whole_vectors(dout))
        CUDA_OK(SIMT_LAUNCH(sum_rows<VEC>, grid(O / VEC, pieces), dim3(THREADS), 0, s->cuda, partial, from,
                            row_stride(dout), N, O));
    else
        CUDA_OK(SIMT_LAUNCH(sum_rows<1>, grid(O, pieces), dim3(THREADS), 0, s->cuda, partial, from,
                            row_stride(dout), N, O));
    partial_sums_add(data<float>(dbias), partial, pieces, O, s);
}

static void backward(const char *function, tensor *dinp, tensor *dweight, tensor *dbias, operand gradient,
                     operand input, operand weights, float keep, stream *s)
{
    const tensor *dout = gradient.value, *inp = input.value, *weight = weights.value;
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    require_matrix(function, inp, ACT_TYPE, N, K);
    require_matrix(function, weight, ACT_TYPE, O, K);
    require_matrix(function, dout, ACT_TYPE, N, O);
    REQUIRE_CONTIGUOUS(weight);
    if (dinp) {
        require_matrix(function, dinp, ACT_TYPE, N, K);
        cuda_gemm(s, false, false, N, K, O, 1, matrix_of(dout), matrix_of(weight), keep, matrix_of(dinp));
    }
    if (dweight) {
        require_matrix(function, dweight, F32, O, K);
        REQUIRE_CONTIGUOUS(dweight);
        cuda_gemm(s, true, false, O, K, N, 1, matrix_of(dout), matrix_of(inp), 1, matrix_of(dweight));
    }
    if (dbias) {
        tensor_require_shape(function, dbias, F32, 1, &O);
        add_column_sums(dbias, dout, s);
    }
}

void CUDA(matmul_backward)(tensor *dinp, tensor *dweight, tensor *dbias, operand dout, operand inp,
                           operand weight, stream *s)
{
    backward(__func__, dinp, dweight, dbias, dout, inp, weight, 0, s);
}

void CUDA(matmul_backward_add)(tensor *dinp, tensor *dweight, tensor *dbias, operand dout, operand inp,
                               operand weight, stream *s)
{
    backward(__func__, dinp, dweight, dbias, dout, inp, weight, 1, s);
}
