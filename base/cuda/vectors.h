/* Private to the .cu files of base/ and kernels/: launches, and elements that are moved in 16 bytes or one by
 * one. Kernels compute in float whatever the storage. A kernel that moves vectors is a template of their
 * length V, or 1 for what is not aligned and for tails. */
#ifndef REMLA_BASE_CUDA_VECTORS_H
#define REMLA_BASE_CUDA_VECTORS_H
#include "base/cuda/cuda.h"
#include "base/cuda/simt.h"
#include <cuda_bf16.h>
#include <stdint.h>
#include <string.h>

/* ---- host: launches ------------------------------------------------------------------------------------ */

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t blocks_for(int64_t n, int64_t per_block) { return (n + per_block - 1) / per_block; }

/* A launch on a stream, of no block: nothing. */
#define LAUNCH(kernel, blocks, threads, shared, s, ...)                                                      \
    do {                                                                                                     \
        const int64_t blocks_ = (blocks);                                                                    \
        if (blocks_ > 0)                                                                                     \
            CUDA_OK(SIMT_LAUNCH(kernel, dim3((unsigned)blocks_), dim3((unsigned)(threads)), shared,          \
                                (s)->cuda, __VA_ARGS__));                                                    \
    } while (0)

/* Returns whether 16 bytes can be moved at a time. */
template <class... P> static inline bool aligned(P *...p) { return (((uintptr_t)p | ...) & 15) == 0; }

/* The part of n elements that goes in vectors; the rest goes one by one. */
static inline int64_t in_vectors(int64_t n, int64_t length, bool aligned)
{
    return aligned ? n / length * length : 0;
}

/* ---- device: elements and vectors ---------------------------------------------------------------------- */

static __device__ inline int64_t thread_index() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }

static __device__ inline float to_float(float x) { return x; }
static __device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
static __device__ inline void from_float(float *out, float x) { *out = x; }
static __device__ inline void from_float(__nv_bfloat16 *out, float x) { *out = __float2bfloat16_rn(x); }

/* The words that are shorter than 16 bytes. */
template <int BYTES> struct word;
template <> struct word<4> {
    typedef unsigned int type;
};
template <> struct word<8> {
    typedef uint2 type;
};

/* V elements of any storage type as floats: one, or as many as 16-byte accesses move, from an aligned
 * address; of a narrow type half or a quarter of them. */
template <int V, class T> static __device__ inline void load(float (&out)[V], const T *from)
{
    constexpr int PER = 16 / (int)sizeof(T), BYTES = V * (int)sizeof(T);
    static_assert(V == 1 || V % PER == 0 || BYTES == 8 || BYTES == 4, "one element, or whole words");
    if constexpr (V == 1) {
        out[0] = to_float(from[0]);
    } else if constexpr (BYTES < 16) {
        const typename word<BYTES>::type bits = *(const typename word<BYTES>::type *)from;
        T part[V];
        memcpy(part, &bits, sizeof bits);
#pragma unroll
        for (int i = 0; i < V; i++) out[i] = to_float(part[i]);
    } else {
#pragma unroll
        for (int v = 0; v < V / PER; v++) {
            const uint4 bits = ((const uint4 *)from)[v];
            T part[PER];
            memcpy(part, &bits, sizeof bits);
#pragma unroll
            for (int i = 0; i < PER; i++) out[v * PER + i] = to_float(part[i]);
        }
    }
}

template <int V, class T> static __device__ inline void store(T *to, const float (&x)[V])
{
    constexpr int PER = 16 / (int)sizeof(T), BYTES = V * (int)sizeof(T);
    static_assert(V == 1 || V % PER == 0 || BYTES == 8 || BYTES == 4, "one element, or whole words");
    if constexpr (V == 1) {
        from_float(to, x[0]);
    } else if constexpr (BYTES < 16) {
        T part[V];
#pragma unroll
        for (int i = 0; i < V; i++) from_float(&part[i], x[i]);
        typename word<BYTES>::type bits;
        memcpy(&bits, part, sizeof bits);
        *(typename word<BYTES>::type *)to = bits;
    } else {
#pragma unroll
        for (int v = 0; v < V / PER; v++) {
            T part[PER];
#pragma unroll
            for (int i = 0; i < PER; i++) from_float(&part[i], x[v * PER + i]);
            uint4 bits;
            memcpy(&bits, part, sizeof bits);
            ((uint4 *)to)[v] = bits;
        }
    }
}

#endif
