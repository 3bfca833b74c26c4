// The functions of CUDA C++ that the host's mathematics does not have. Those that a GPU approximates are
// exact here.
#ifndef REMLA_TESTS_EMU_INTRINSICS_H
#define REMLA_TESTS_EMU_INTRINSICS_H
#include <math.h>
#include <string.h>

inline float __uint_as_float(unsigned x)
{
    float y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x)
{
    unsigned y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline float __expf(float x) { return expf(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }

// For all types: a call finds the same function as with nvcc.
#define SIMT_MIN_MAX(type)                                                                                   \
    inline type min(type a, type b) { return b < a ? b : a; }                                                \
    inline type max(type a, type b) { return a < b ? b : a; }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
#undef SIMT_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

// Of whole numbers only: sums of floats by atomics have no order.
inline int atomicAdd(int *p, int x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
inline unsigned long long atomicAdd(unsigned long long *p, unsigned long long x)
{
    return __atomic_fetch_add(p, x, __ATOMIC_RELAXED);
}

#endif
