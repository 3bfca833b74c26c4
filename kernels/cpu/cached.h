/* Private to kernels/: conversions between the storage types of a cache of keys and values and the type that
 * computes, and checks of a cache. Loop bodies have no branches, so that gcc vectorises them. */
#ifndef REMLA_KERNELS_CPU_CACHED_H
#define REMLA_KERNELS_CPU_CACHED_H
#include "base/bf16.h"
#include "kernels/cpu/cpu.h"
#include <string.h>

static const float F8_LARGEST = 448;

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* E4M3: a sign, four bits of exponent with bias 7, three of significand. All ones is NaN; exponent 0 counts
 * in steps of 2^-9. */
static inline float from_f8(uint8_t code)
{
    const uint32_t magnitude = code & 0x7f, sign = (uint32_t)(code & 0x80) << 24;
    const uint32_t normal = (magnitude << 20) + (120u << 23),
                   small = bits_of((float)(int32_t)magnitude * 0x1p-9f);
    const uint32_t finite = magnitude < 8 ? small : normal;
    return float_of((magnitude == 0x7f ? 0x7fc00000u : finite) | sign);
}

static inline uint8_t to_f8(float x) /* to the nearest, ties to even, at most F8_LARGEST; NaN stays NaN */
{
    const uint32_t bits = bits_of(x), sign = bits >> 24 & 0x80;
    const float size = float_of(bits & 0x7fffffff), kept = size < F8_LARGEST ? size : F8_LARGEST;
    const uint32_t k = bits_of(kept), normal = ((k + 0x7ffff + (k >> 20 & 1)) >> 20) - (120u << 3);
    /* Steps of 2^-9, rounded by adding what leaves no bits for less. */
    const uint32_t small = bits_of(kept * 0x1p9f + 0x1p23f) - bits_of(0x1p23f);
    const uint32_t finite = kept < 0x1p-6f ? small : normal;
    return (uint8_t)((size == size ? finite : 0x7f) | sign);
}

/* out (count) = elements from.. of row `row`. */
static inline void cached_load(real *out, const cached *c, int64_t row, int64_t from, int64_t count)
{
    const int64_t first = row * c->rows.dim[1] + from;
    if (c->rows.type == BF16) {
        const uint16_t *half = (const uint16_t *)c->rows.data + first;
        for (int64_t i = 0; i < count; i++) out[i] = (real)bf16_float(half[i]);
    } else if (c->rows.type == F8) {
        const uint8_t *code = (const uint8_t *)c->rows.data + first;
        const float scale = ((const float *)c->scale.data)[row];
        for (int64_t i = 0; i < count; i++) out[i] = (real)(from_f8(code[i]) * scale);
    } else {
        memcpy(out, (const real *)c->rows.data + first, (size_t)count * sizeof *out);
    }
}

static inline void cached_require(const char *function, const cached *c)
{
    REQUIRE(c->rows.rank == 2, "%s: %s has rank %d, expected 2", function, c->rows.name, c->rows.rank);
    REQUIRE(c->rows.type == REAL_TYPE || c->rows.type == BF16 || c->rows.type == F8,
            "%s: %s is %s, expected %s, bf16 or f8", function, c->rows.name, dtype_name(c->rows.type),
            dtype_name(REAL_TYPE));
    REQUIRE_CONTIGUOUS(&c->rows);
    if (c->rows.type != F8) return;
    tensor_require_shape(function, &c->scale, F32, 1, (const int64_t[]){c->rows.dim[0]});
    REQUIRE_CONTIGUOUS(&c->scale);
}

/* `slot` (N) names rows of the cache. */
static inline void cached_require_slots(const char *function, const cached *c, const tensor *slot, int64_t N)
{
    tensor_require_shape(function, slot, I32, 1, (const int64_t[]){N});
    REQUIRE_CONTIGUOUS(slot);
    const int32_t *at = slot->data;
    for (int64_t n = 0; n < N; n++)
        REQUIRE(at[n] >= 0 && at[n] < c->rows.dim[0], "%s: %s[%lld] is %d of %lld", function, slot->name,
                (long long)n, at[n], (long long)c->rows.dim[0]);
}

#endif
