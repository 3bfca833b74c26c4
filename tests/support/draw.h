/* Random numbers of tests that make data: the same on every machine for the same state. Tensors have
 * check_fill. */
#ifndef REMLA_TESTS_DRAW_H
#define REMLA_TESTS_DRAW_H
#include <stdint.h>

/* 64 bits of which the high ones are random (Knuth's generator for MMIX). Any state is a seed. */
static inline uint64_t draw_bits(uint64_t *state)
{
    return *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
}

/* From 0 to below - 1, which is less than 2^31. */
static inline uint32_t draw_below(uint64_t *state, uint32_t below)
{
    return (uint32_t)((draw_bits(state) >> 33) % below);
}

/* In [0, 1), in steps of 2^-53. */
static inline double draw_uniform(uint64_t *state) { return (double)(draw_bits(state) >> 11) * 0x1p-53; }

#endif
