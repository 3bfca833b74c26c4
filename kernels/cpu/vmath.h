/* Private to kernels/: exp for loops that must become vector instructions. The C library's expf is a call,
 * which keeps gcc from vectorising the loop around it; this one is straight-line code, so that `#pragma omp
 * simd` does.
 * float: within 1.02 ulp; below -87.33 (results that are denormal, or 0) exactly 0, above 88.72 infinity, NaN
 * stays NaN.
 * double: the C library's, because the double build is the oracle and need not be fast. */
#ifndef REMLA_KERNELS_CPU_VMATH_H
#define REMLA_KERNELS_CPU_VMATH_H
#include "kernels/cpu/cpu.h"
#include <string.h>

#ifdef REAL_IS_DOUBLE

static inline real real_exp(real x) { return exp(x); }

#else

/* exp(x) = 2^n exp(r) with n = round(x/ln 2), |r| <= ln(2)/2. exp(r) = 1 + r + r^2 q(r), q the minimax
 * polynomial of degree 4 (largest relative error 3e-9, well below the rounding). */
static inline real real_exp(real x)
{
    const float lowest = -87.336540f, highest = 88.722839f;
    /* Adding it leaves the nearest integer in the low bits of the significand. */
    const float shift = 0x1.8p23f;
    const float kept = x < lowest ? lowest : x;
    const float shifted = kept * 0x1.715476p0f + shift;
    const float n = shifted - shift;
    /* ln 2 in two pieces: n times the first is exact. */
    const float r = (kept - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    float q = 0x1.6a241ap-10f;
    q = q * r + 0x1.1239f2p-7f;
    q = q * r + 0x1.5558f2p-5f;
    q = q * r + 0x1.555492p-3f;
    q = q * r + 0x1.fffffcp-2f;
    const float y = (q * r) * r + r + 1.0f;
    /* Times 2^n by adding n to the exponent; between the two limits the result is neither denormal nor
     * infinite. */
    uint32_t bits, exponent;
    memcpy(&bits, &y, sizeof bits);
    memcpy(&exponent, &shifted, sizeof exponent);
    bits += exponent << 23;
    float result;
    memcpy(&result, &bits, sizeof result);
    result = x <= highest ? result : x + HUGE_VALF; /* a NaN takes this way too */
    return x < lowest ? 0.0f : result;
}

#endif
#endif
