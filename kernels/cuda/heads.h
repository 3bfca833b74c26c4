/* Private to the CUDA sources: tensors (B,T,H,D) whose heads may lie anywhere, as slices of the outputs of
 * products do. */
#ifndef REMLA_KERNELS_CUDA_HEADS_H
#define REMLA_KERNELS_CUDA_HEADS_H
#include "kernels/cuda/kernel.h"

/* Describes where the heads start; strides are in elements. */
typedef struct heads {
    act *data;
    int64_t batch, position, head;
} heads;

/* Returns the heads of a (B,T,H,D) tensor, or of a (B,T,D) one, where every head is the same. */
static inline heads heads_of(const tensor *t)
{
    return {data<act>(t), t->stride[0], t->stride[1], t->rank == 4 ? t->stride[2] : 0};
}

/* Head h of row n = b*T + t. 32-bit numbers: divisions of 64-bit ones would take longer than the memory. */
static __device__ inline act *head_at(heads x, uint32_t n, uint32_t h, uint32_t T)
{
    return x.data + n / T * x.batch + n % T * x.position + h * x.head;
}

/* Every head starts at a multiple of 16 bytes. */
static inline bool heads_aligned(heads x)
{
    return aligned(x.data) && x.batch % VEC == 0 && x.position % VEC == 0 && x.head % VEC == 0;
}

/* The number of threads when each of `rows` takes `each`; they are numbered in 32 bits. */
static inline uint32_t heads_threads(int64_t rows, int64_t each)
{
    REQUIRE(rows * each <= INT32_MAX, "%lld times %lld threads", (long long)rows, (long long)each);
    return (uint32_t)(rows * each);
}

#endif
