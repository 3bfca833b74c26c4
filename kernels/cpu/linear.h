/* Private to kernels/: what every linear layer requires of its tensors. */
#ifndef REMLA_KERNELS_CPU_LINEAR_H
#define REMLA_KERNELS_CPU_LINEAR_H
#include "kernels/cpu/cpu.h"

/* Stops the job, naming the op `function`, unless inp is (N,K), weight (O,K) and contiguous, out (or its
 * gradient) (N,O) and bias (O); NULL: no bias. Rows of inp and out may be strided. */
static inline void require_linear(const char *function, const tensor *out, const tensor *inp,
                                  const tensor *weight, const tensor *bias)
{
    const int64_t N = inp->dim[0], K = inp->dim[1], O = weight->dim[0];
    tensor_require_shape(function, inp, REAL_TYPE, 2, (const int64_t[]){N, K});
    tensor_require_shape(function, weight, REAL_TYPE, 2, (const int64_t[]){O, K});
    tensor_require_shape(function, out, REAL_TYPE, 2, (const int64_t[]){N, O});
    REQUIRE(tensor_contiguous(weight), "%s: %s is a strided view", function, weight->name);
    if (bias) tensor_require_shape(function, bias, REAL_TYPE, 1, (const int64_t[]){O});
}

#endif
