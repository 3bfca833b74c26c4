/* Private to the .cu files of kernels/: the 8-bit floats of the cache of keys and values, E4M3: the largest
 * is 448, there is no infinity. load and store of kernel.h take them as any other storage type. From sm_89 on
 * the conversions are instructions; before they are some integer arithmetic. */
#ifndef REMLA_KERNELS_CUDA_FP8_H
#define REMLA_KERNELS_CUDA_FP8_H
#include "kernels/cuda/kernel.h"
#include <cuda_fp8.h>

typedef __nv_fp8_e4m3 f8;
#define F8_LARGEST 448.0f

static __device__ inline float to_float(f8 x)
{
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.__x, __NV_E4M3)));
}
/* Rounds to nearest, even on ties; what is larger than the largest becomes it. */
static __device__ inline void from_float(f8 *out, float x)
{
    out->__x = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
}

#endif
