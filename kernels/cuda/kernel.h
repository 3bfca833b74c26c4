/* Private to the .cu files of kernels/: the storage type that a CUDA op is being compiled for and the small
 * change of every kernel. Every file is compiled twice, as is (f32) and with STORAGE_BF16; names become
 * NAME_cuda_f32 and NAME_cuda_bf16. Kernels compute in float whatever the storage. They have internal
 * linkage. A kernel that moves vectors is a template of their length V: VEC elements in 16 bytes, or 1 for
 * what is not aligned and for tails. */
#ifndef REMLA_KERNELS_CUDA_KERNEL_H
#define REMLA_KERNELS_CUDA_KERNEL_H
#include "base/cuda/cuda.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "kernels/cuda/simt.h"
#include <cuda_bf16.h>
#include <math.h>

#ifdef STORAGE_BF16
typedef __nv_bfloat16 act;
#define ACT_TYPE   BF16
#define CUDA(name) name##_cuda_bf16
#else
typedef float act;
#define ACT_TYPE   F32
#define CUDA(name) name##_cuda_f32
#endif

/* Prototypes of this file's ops, so that a definition that disagrees with ops.def does not compile. */
extern "C" {
#define OP(name, params) void CUDA(name) params;
#include "kernels/ops.def"
#undef OP
}

#define REQUIRE_CONTIGUOUS(t) REQUIRE(tensor_contiguous(t), "%s is a strided view", (t)->name)

enum { VEC = 16 / (int)sizeof(act), WARP = 32 };

template <class T> static inline T *data(const tensor *t) { return (T *)t->data; }

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

/* `count` elements of the stream's scratch, from its start. */
template <class T> static inline T *workspace(stream *s, int64_t count)
{
    REQUIRE(count * (int64_t)sizeof(T) <= s->workspace_bytes, "%lld bytes of scratch asked of %lld",
            (long long)(count * (int64_t)sizeof(T)), (long long)s->workspace_bytes);
    return (T *)s->workspace;
}

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
static __device__ inline act to_act(float x)
{
    act out;
    from_float(&out, x);
    return out;
}

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

/* ---- device: reductions, in an order that is always the same ------------------------------------------- */

struct combine_sum {
    template <class T> __device__ T operator()(T x, T y) const { return x + y; }
};
struct combine_max {
    __device__ float operator()(float x, float y) const { return fmaxf(x, y); }
};

/* Over the lanes of a warp, all of which call and get the result. */
template <class Combine, class T> static __device__ inline T warp_reduce(T x)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) x = Combine()(x, __shfl_xor_sync(~0u, x, step));
    return x;
}
template <class T> static __device__ inline T warp_sum(T x) { return warp_reduce<combine_sum>(x); }
static __device__ inline float warp_max(float x) { return warp_reduce<combine_max>(x); }

/* Over the THREADS threads of a block, all of which call and get the result. */
template <int THREADS, class Combine, class T> static __device__ inline T block_reduce(T x)
{
    static_assert(THREADS % WARP == 0, "whole warps");
    SHARED(T, part, [THREADS / WARP]);
    x = warp_reduce<Combine>(x);
    __syncthreads(); /* a reduction before this one may still be reading */
    if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = x;
    __syncthreads();
    T all = part[0];
#pragma unroll
    for (int i = 1; i < THREADS / WARP; i++) all = Combine()(all, part[i]);
    return all;
}
template <int THREADS, class T> static __device__ inline T block_sum(T x)
{
    return block_reduce<THREADS, combine_sum>(x);
}
template <int THREADS> static __device__ inline float block_max(float x)
{
    return block_reduce<THREADS, combine_max>(x);
}

#endif
