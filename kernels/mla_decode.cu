/* Absorbed MLA over the cache: one key/value head, whose values are the front of its keys. The kernel is that
 * of attention_decode.cu. */
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/attention/attention_decode.h"

void CUDA(mla_decode)(tensor *out, const tensor *q, const cached *latents, const ragged *r, double scale,
                      tensor *scratch, stream *s)
{
    const int64_t R = out->dim[2], width = q->dim[2];
    REQUIRE(R <= width, "%s: values of %lld elements from keys of %lld", __func__, (long long)R,
            (long long)width);
    CUDA(attention_decode)(__func__, out, q, latents, NULL, 1, width, R, r, scale, scratch, s);
}
