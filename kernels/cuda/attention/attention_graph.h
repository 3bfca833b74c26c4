/* Private to kernels/cuda/attention/: the op attention as graphs of cuDNN's backend (kernels/cuda/cudnn.h),
 * and plans made of them. attention_graph.c has the picture. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_GRAPH_H
#define REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_GRAPH_H
#include "kernels/cuda/cudnn.h"

/* The tensors in memory; names as in ops.def. */
enum attention_uid {
    UID_Q = 1,
    UID_K,
    UID_V,
    UID_OUT,
    UID_LSE,
    UID_FIRST,
    UID_DOUT,
    UID_DQ,
    UID_DK,
    UID_DV,
    UID_SCALE,  /* number: the softmax scale */
    UID_MASKED, /* number: ATTENTION_MASKED */
    UID_ONE,    /* number: 1 */
    UID_DELTA,  /* (B,H,T) f32, written: sum of dout * out over a head */
    UID_DQ_SUM, /* (B,H,T,D) f32, written, by BACKWARD_RACING only: dq before it is rounded */
};

/* A score that no key has: its exponential is 0. Finite, so that a tile in which a row sees no key yet
 * subtracts no infinity from another. */
#define ATTENTION_MASKED -1e30f

/* Strides in elements, of sequences, heads and positions; a head's elements are adjacent. */
typedef struct attention_stride {
    int64_t b, h, t;
} attention_stride;
/* Returns the strides of a contiguous (B,T,heads,width) tensor. */
attention_stride attention_contiguous(int64_t T, int64_t heads, int64_t width);

/* Everything that a graph depends on. G = H. */
typedef struct attention_layout {
    int64_t B, T, H, D, Dv;
    attention_stride q, k, v, out, lse, dout, dq, dk, dv; /* the last four: backward only */
} attention_layout;

typedef enum attention_backward {
    BACKWARD_REPEATS, /* the same bits every time; 2 T^2 bytes of the engine's workspace for every head */
    BACKWARD_RACING,  /* blocks of keys add to UID_DQ_SUM in any order */
} attention_backward;

/* Plans of the op: OK, or ERR_DEVICE with cuDNN's reason. A second or more each. */
status attention_plan_forward(cudnn_plan *plan, const cudnn_planner *p, const attention_layout *x,
                              message *why);
status attention_plan_backward(cudnn_plan *plan, const cudnn_planner *p, const attention_layout *x,
                               attention_backward how, message *why);

#endif
