/* Decoding of multi-head latent attention in the latent space: all query heads read one row for each
 * position, whole as the key, its first R elements as the value. */
#include "kernels/cpu/decode.h"

void CPU(mla_decode)(tensor *out, const tensor *q, const cached *latents, const ragged *r, double scale,
                     tensor *scratch, stream *s)
{
    (void)s;
    const decode_shape c = {.H = q->dim[1], .G = 1, .D = q->dim[2], .Dv = out->dim[2]};
    REQUIRE(latents->rows.dim[1] == c.D && c.Dv <= c.D, "%s: %lld latents of rows of %lld, queries of %lld",
            __func__, (long long)c.Dv, (long long)latents->rows.dim[1], (long long)c.D);
    decode(__func__, out, q, latents, latents, r, &c, scale, scratch);
}
