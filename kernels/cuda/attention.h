/* Private to kernels/cuda/: the implementations of attention on a GPU. Each has the op's forward and backward
 * (ops.def) for the storages that it does, and a function that says what it cannot do.
 * kernels/cuda/attention/attention_cuda.c lists them and chooses. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_H
#define REMLA_KERNELS_CUDA_ATTENTION_H
#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ATTENTION_FORWARD                                                                                    \
    (tensor * out, tensor * lse, const tensor *q, const tensor *k, const tensor *v, const tensor *first,     \
     double scale, stream *s)
#define ATTENTION_BACKWARD                                                                                   \
    (tensor * dq, tensor * dk, tensor * dv, const tensor *dout, const tensor *out, const tensor *lse,        \
     const tensor *q, const tensor *k, const tensor *v, const tensor *first, double scale, stream *s)

/* Checks that forward and backward can do `shape` on the stream's device: OK, or ERR_USAGE with the reason in
 * *why, as a clause: "it has no heads of 576 elements". After the first call with a shape it must cost no
 * more than a launch: with ATTENTION_AUTO every call of the op asks. */
#define ATTENTION_SUPPORTS (stream * s, const attention_shape *shape, message *why)

status attention_cudnn_supports_cuda_bf16 ATTENTION_SUPPORTS;
void attention_cudnn_forward_cuda_bf16 ATTENTION_FORWARD;
void attention_cudnn_backward_cuda_bf16 ATTENTION_BACKWARD;

status attention_flash_supports_cuda_f32 ATTENTION_SUPPORTS;
status attention_flash_supports_cuda_bf16 ATTENTION_SUPPORTS;
void attention_flash_forward_cuda_f32 ATTENTION_FORWARD;
void attention_flash_forward_cuda_bf16 ATTENTION_FORWARD;
void attention_flash_backward_cuda_f32 ATTENTION_BACKWARD;
void attention_flash_backward_cuda_bf16 ATTENTION_BACKWARD;

status attention_unfused_supports_cuda_f32 ATTENTION_SUPPORTS;
status attention_unfused_supports_cuda_bf16 ATTENTION_SUPPORTS;
void attention_unfused_forward_cuda_f32 ATTENTION_FORWARD;
void attention_unfused_forward_cuda_bf16 ATTENTION_FORWARD;
void attention_unfused_backward_cuda_f32 ATTENTION_BACKWARD;
void attention_unfused_backward_cuda_bf16 ATTENTION_BACKWARD;

/* The op with ATTENTION_AUTO: the first in the order of attention_choice that supports the shape. */
void attention_forward_cuda_f32 ATTENTION_FORWARD;
void attention_forward_cuda_bf16 ATTENTION_FORWARD;
void attention_backward_cuda_f32 ATTENTION_BACKWARD;
void attention_backward_cuda_bf16 ATTENTION_BACKWARD;

/* Puts an implementation in the place of a table's attention; AUTO leaves the ops as they are. */
void attention_use(struct ops *table, attention_choice choice);

#ifdef __cplusplus
}
#endif

#endif
