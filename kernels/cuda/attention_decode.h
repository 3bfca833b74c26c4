/* Private to kernels/: attention of a pass's rows over cached positions, what gqa_decode and mla_decode
 * (ops.def) have in common. kernels/cuda/attention/attention_decode.cu does it. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_DECODE_H
#define REMLA_KERNELS_CUDA_ATTENTION_DECODE_H
#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Shapes are those of the pages: G key/value heads, D elements of a key, Dv of a value. With `v` NULL a value
 * is the first Dv elements of its key. Checks its
 * arguments. */
#define ATTENTION_DECODE                                                                                     \
    (const char *function, tensor *out, const tensor *q, const cached *k, const cached *v, int64_t G,        \
     int64_t D, int64_t Dv, const ragged *r, double scale, tensor *scratch, stream *s)

void attention_decode_cuda_f32 ATTENTION_DECODE;
void attention_decode_cuda_bf16 ATTENTION_DECODE;

#ifdef __cplusplus
}
#endif

#endif
