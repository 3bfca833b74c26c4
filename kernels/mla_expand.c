/* The keys of materialised MLA are copies: each head's own part beside the rotary part that all heads
 * share. Backward takes them apart again and sums the shared part over the heads, in the order of the
 * heads. */
#include "kernels/cpu/cpu.h"
#include <string.h>

static real *head_of(const tensor *t, int64_t b, int64_t pos, int64_t h)
{
    return (real *)t->data + b * t->stride[0] + pos * t->stride[1] + h * t->stride[2];
}

static real *position_of(const tensor *t, int64_t b, int64_t pos)
{
    return (real *)t->data + b * t->stride[0] + pos * t->stride[1];
}

void CPU(mla_expand_forward)(tensor *k, const tensor *nope, const tensor *rotary, stream *s)
{
    (void)s;
    const int64_t B = nope->dim[0], T = nope->dim[1], H = nope->dim[2], Dn = nope->dim[3],
                  Dr = rotary->dim[2];
    REQUIRE_SHAPE(k, REAL_TYPE, B, T, H, Dn + Dr);
    REQUIRE_SHAPE(nope, REAL_TYPE, B, T, H, Dn);
    REQUIRE_SHAPE(rotary, REAL_TYPE, B, T, Dr);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < B * T; n++) {
        const int64_t b = n / T, t = n % T;
        for (int64_t h = 0; h < H; h++) {
            real *key = head_of(k, b, t, h);
            memcpy(key, head_of(nope, b, t, h), (size_t)Dn * sizeof *key);
            memcpy(key + Dn, position_of(rotary, b, t), (size_t)Dr * sizeof *key);
        }
    }
}

void CPU(mla_expand_backward)(tensor *dnope, tensor *drotary, const tensor *dk, stream *s)
{
    (void)s;
    const int64_t B = dnope->dim[0], T = dnope->dim[1], H = dnope->dim[2], Dn = dnope->dim[3],
                  Dr = drotary->dim[2];
    REQUIRE_SHAPE(dnope, REAL_TYPE, B, T, H, Dn);
    REQUIRE_SHAPE(drotary, REAL_TYPE, B, T, Dr);
    REQUIRE_SHAPE(dk, REAL_TYPE, B, T, H, Dn + Dr);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < B * T; n++) {
        const int64_t b = n / T, t = n % T;
        real *shared = position_of(drotary, b, t);
        memset(shared, 0, (size_t)Dr * sizeof *shared);
        for (int64_t h = 0; h < H; h++) {
            const real *dkey = head_of(dk, b, t, h);
            memcpy(head_of(dnope, b, t, h), dkey, (size_t)Dn * sizeof *dkey);
#pragma omp simd
            for (int64_t i = 0; i < Dr; i++) shared[i] += dkey[Dn + i];
        }
    }
}
