/* Attention over cached keys and values of G heads each. The kernel is that of attention_decode.cu. */
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/attention/attention_decode.h"

void CUDA(gqa_decode)(tensor *out, const tensor *q, const cached *k, const cached *v, const ragged *r,
                      double scale, tensor *scratch, stream *s)
{
    const int64_t H = q->dim[1], D = q->dim[2], Dv = out->dim[2], G = k->rows.dim[1] / D;
    REQUIRE(G > 0 && H % G == 0, "%s: %lld query heads for %lld key heads", __func__, (long long)H,
            (long long)G);
    CUDA(attention_decode)(__func__, out, q, k, v, G, D, Dv, r, scale, scratch, s);
}
