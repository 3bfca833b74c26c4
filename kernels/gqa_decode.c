/* Decoding of grouped-query attention: the keys and values of G heads, side by side in a row. */
#include "kernels/cpu/decode.h"

void CPU(gqa_decode)(tensor *out, const tensor *q, const cached *k, const cached *v, const ragged *r,
                     double scale, tensor *scratch, stream *s)
{
    (void)s;
    const int64_t H = q->dim[1], D = q->dim[2], Dv = out->dim[2], G = k->rows.dim[1] / D;
    tensor_require_shape(__func__, &k->rows, k->rows.type, 2, (const int64_t[]){k->rows.dim[0], G * D});
    tensor_require_shape(__func__, &v->rows, v->rows.type, 2, (const int64_t[]){v->rows.dim[0], G * Dv});
    REQUIRE(G > 0 && H % G == 0, "%s: %lld query heads for %lld key heads", __func__, (long long)H,
            (long long)G);
    decode(__func__, out, q, k, v, r, G, scale, scratch);
}
