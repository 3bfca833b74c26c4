/* A product with a matrix of its own for each head: one call of cuBLAS for all of them (kernels/cuda/gemm.h).
 * The rows of a head lie stride[0] apart, which is the leading dimension that cuBLAS asks for. */
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/gemm.h"

/* The heads of a (N,H,width) tensor, a (N,width) matrix each. */
static matrix heads_of_rows(const tensor *t)
{
    const int64_t width = t->dim[2];
    return matrix{t->data, ACT_TYPE, t->dim[0] > 1 ? t->stride[0] : width, t->stride[1]};
}

void CUDA(heads_matmul)(tensor *out, const tensor *inp, const tensor *weight, bool transposed, stream *s)
{
    const int64_t N = inp->dim[0], H = inp->dim[1], K = inp->dim[2], O = out->dim[2];
    const int64_t out_shape[] = {N, H, O}, inp_shape[] = {N, H, K},
                  weight_shape[] = {H, transposed ? K : O, transposed ? O : K};
    tensor_require_shape(__func__, out, ACT_TYPE, 3, out_shape);
    tensor_require_shape(__func__, inp, ACT_TYPE, 3, inp_shape);
    tensor_require_shape(__func__, weight, ACT_TYPE, 3, weight_shape);
    if (N == 0) return;
    const matrix w = {weight->data, ACT_TYPE, weight->stride[1], weight->stride[0]};
    cuda_gemm_batched(s, H, false, !transposed, N, O, K, 1, heads_of_rows(inp), w, 0, heads_of_rows(out));
}
