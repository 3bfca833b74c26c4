/* Decoding of multi-head latent attention in the latent space: all query heads read one row for each
 * position, whole as the key, its first R elements as the value. */
#include "kernels/cpu/decode.h"

void CPU(mla_decode)(tensor *out, const tensor *q, const cached *latents, const ragged *r, double scale,
                     tensor *scratch, stream *s)
{
    (void)s;
    const int64_t D = q->dim[2], R = out->dim[2];
    REQUIRE(latents->rows.dim[1] == D && R <= D, "%s: %lld latents of rows of %lld, queries of %lld",
            __func__, (long long)R, (long long)latents->rows.dim[1], (long long)D);
    decode(__func__, out, q, latents, latents, r, 1, scale, scratch);
}
