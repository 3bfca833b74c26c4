// The functions of CUDA C++ that the host's mathematics lacks. Those that a GPU approximates are exact here.
#ifndef REMLA_TESTS_EMU_INTRINSICS_H
#define REMLA_TESTS_EMU_INTRINSICS_H
#include <math.h>
#include <stdint.h>
#include <string.h>

template <class To, class From> inline To simt_bits(From x)
{
    static_assert(sizeof(To) == sizeof(From), "same size");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x) { return simt_bits<unsigned>(x); }
inline int __float_as_int(float x) { return simt_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return simt_bits<float>(x); }
inline float __int_as_float(int x) { return simt_bits<float>(x); }
inline long long __double_as_longlong(double x) { return simt_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return simt_bits<double>(x); }

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; } // NaN: 0

inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((uint64_t)x * y >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }

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

// Loads and stores that name a cache.
template <class T> inline T __ldg(const T *p) { return *p; }
template <class T> inline T __ldcg(const T *p) { return *p; }
template <class T> inline T __ldcs(const T *p) { return *p; }
template <class T> inline void __stcs(T *p, T x) { *p = x; }
template <class T> inline void __stcg(T *p, T x) { *p = x; }

// Of whole numbers only: sums of floats by atomics have no order.
template <class T> inline T simt_fetch_add(T *p, T x) { return __atomic_fetch_add(p, x, __ATOMIC_RELAXED); }
inline int atomicAdd(int *p, int x) { return simt_fetch_add(p, x); }
inline unsigned atomicAdd(unsigned *p, unsigned x) { return simt_fetch_add(p, x); }
inline unsigned long long atomicAdd(unsigned long long *p, unsigned long long x)
{
    return simt_fetch_add(p, x);
}

#endif
