/* The typed table through which model, optim and train compute. ops.def documents every entry. */
#ifndef REMLA_KERNELS_KERNELS_H
#define REMLA_KERNELS_KERNELS_H
#include "base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct stream stream; /* a CUDA stream; always NULL on the CPU */

typedef enum rope_layout { ROPE_HALVES, ROPE_PAIRS } rope_layout;

typedef struct adamw_scalars {
    double rate, beta1, beta2, eps, decay;
    double grad_scale; /* 1 / valid tokens, times the clipping factor */
    int64_t step;      /* from 1 */
} adamw_scalars;

#ifndef __cplusplus /* C++ calls the ops by their own names: "stream" cannot be a type and a member there */
typedef struct ops {
    const char *name; /* "cpu f32" */
    dtype real;       /* type of activations, weights and gradients */
#define OP(op, params) void(*op) params;
#include "kernels/ops.def"
#undef OP
} ops;
#endif

const struct ops *ops_cpu_f32(void);
const struct ops *ops_cpu_f64(void); /* the oracle: the same C, compiled for double */

#ifdef __cplusplus
}
#endif
#endif
