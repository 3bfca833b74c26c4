/* bf16, the upper half of a float. Bodies without branches, so that gcc vectorises loops over them. */
#ifndef REMLA_BASE_BF16_H
#define REMLA_BASE_BF16_H
#include <stdint.h>
#include <string.h>

static inline float bf16_float(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint16_t bf16_of(float x) /* the nearest, ties to even; NaN stays NaN */
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(x == x ? rounded : 0x7fff);
}

#endif
