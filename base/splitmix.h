/* The generator splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). Its k-th number is
 * computed without those before it, so a caller needs no state but the count of its draws. */
#ifndef REMLA_BASE_SPLITMIX_H
#define REMLA_BASE_SPLITMIX_H
#include <stdint.h>

#ifdef __CUDACC__
#define SPLITMIX_INLINE static __host__ __device__ inline
#else
#define SPLITMIX_INLINE static inline
#endif

/* Its finaliser: a bijection in which every bit of x moves about half of the result's. */
SPLITMIX_INLINE uint64_t splitmix_scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The k-th number of a seed. */
SPLITMIX_INLINE uint64_t splitmix(uint64_t seed, uint64_t k)
{
    return splitmix_scramble(seed + (k + 1) * 0x9e3779b97f4a7c15u);
}

#endif
