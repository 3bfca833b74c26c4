/* Private to base/ (C11 and C++): adds up on a device what ranks have sent each other, with the bits of
 * comm_sums.h. Both functions queue their work on the stream and return. */
#ifndef REMLA_BASE_CUDA_COMM_SUMS_H
#define REMLA_BASE_CUDA_COMM_SUMS_H
#include "base/comm.h"
#include "base/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* half (n) of bf16 = full (n), rounded. */
void device_sums_round(void *half, const float *full, int64_t n, stream *s);

/* out (n) = the sum over `parts` parts (up to 2047) of n elements. Part `rank` is `own`, which is rounded
 * first if BF16 was sent; the others lie in `received` (parts-1, n) of how->sent, in their order, at a
 * multiple of 16 bytes. `out` may be `own`. */
void device_sums(float *out, const float *own, const void *received, int rank, int parts, int64_t n,
                 const reduction *how, stream *s);

#ifdef __cplusplus
}
#endif
#endif
