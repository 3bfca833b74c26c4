/* Decoding of grouped-query attention: the keys and values of G heads, side by side in a row. */
#include "kernels/cpu/decode.h"

void CPU(gqa_decode)(tensor *out, const tensor *q, const cached *k, const cached *v, const ragged *r,
                     double scale, tensor *scratch, stream *s)
{
    (void)s;
    decode_shape c = {.H = q->dim[1], .D = q->dim[2], .Dv = out->dim[2]};
    c.G = k->rows.dim[1] / c.D;
    tensor_require_shape(__func__, &k->rows, k->rows.type, 2, (const int64_t[]){k->rows.dim[0], c.G * c.D});
    tensor_require_shape(__func__, &v->rows, v->rows.type, 2, (const int64_t[]){v->rows.dim[0], c.G * c.Dv});
    REQUIRE(c.G > 0 && c.H % c.G == 0, "%s: %lld query heads for %lld key heads", __func__, (long long)c.H,
            (long long)c.G);
    decode(__func__, out, q, k, v, r, &c, scale, scratch);
}
