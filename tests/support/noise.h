/* For tests of communicators. */
#ifndef REMLA_TESTS_NOISE_H
#define REMLA_TESTS_NOISE_H
#include <stdint.h>

/* What rank r brings as element i: numbers of very different size, so that the order of a sum shows in its
 * bits. */
static inline float noise(int r, int64_t i)
{
    uint64_t x = ((uint64_t)(r + 1) << 40 ^ (uint64_t)i) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    return (float)(int32_t)(x >> 32) * (x & 1 ? 1.0f : 0x1p-12f);
}

#endif
