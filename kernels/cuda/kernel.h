/* Private to the .cu files of kernels/: the storage type that a CUDA op is being compiled for and the small
 * change of every kernel. Every file is compiled twice, as is (f32) and with STORAGE_BF16; names become
 * NAME_cuda_f32 and NAME_cuda_bf16. Kernels compute in float whatever the storage. They have internal
 * linkage. A kernel that moves vectors is a template of their length V: VEC elements in 16 bytes, or 1 for
 * what is not aligned and for tails. */
#ifndef REMLA_KERNELS_CUDA_KERNEL_H
#define REMLA_KERNELS_CUDA_KERNEL_H
#include "base/cuda/cuda.h"
#include "base/cuda/vectors.h"
#include "base/status.h"
#include "kernels/kernels.h"
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

/* `count` elements of the stream's scratch, from its start. */
template <class T> static inline T *workspace(stream *s, int64_t count)
{
    REQUIRE(count * (int64_t)sizeof(T) <= s->workspace_bytes, "%lld bytes of scratch asked of %lld",
            (long long)(count * (int64_t)sizeof(T)), (long long)s->workspace_bytes);
    return (T *)s->workspace;
}

static __device__ inline act to_act(float x)
{
    act out;
    from_float(&out, x);
    return out;
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
