/* Private to kernels/: the type that a CPU op is being compiled for. Every op file is compiled twice, as is
 * (float) and with REAL_IS_DOUBLE; names become NAME_cpu_f32 and NAME_cpu_f64. */
#ifndef REMLA_KERNELS_CPU_CPU_H
#define REMLA_KERNELS_CPU_CPU_H
#include "base/status.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/blocks.h"
#include "kernels/kernels.h"
#include <math.h>

/* Stops the job at a strided view where the op needs contiguous memory. */
#define REQUIRE_CONTIGUOUS(t) REQUIRE(tensor_contiguous(t), "%s is a strided view", (t)->name)

#ifdef REAL_IS_DOUBLE
typedef double real;
#define REAL_TYPE      F64
#define CPU(name)      name##_cpu_f64
#define REAL(function) function /* REAL(sqrt) is sqrt */
#define gemm           blas_gemm_f64
#else
typedef float real;
#define REAL_TYPE      F32
#define CPU(name)      name##_cpu_f32
#define REAL(function) function##f /* REAL(sqrt) is sqrtf */
#define gemm           blas_gemm_f32
#endif

/* Numbers that an op reads below which a second thread costs more than it saves. No result depends on it. */
enum { SHARED = 1 << 15 };

/* Prototypes of this file's ops, so that a definition that disagrees with ops.def does not compile. */
#define OP(name, params) void CPU(name) params;
#include "kernels/ops.def"
#undef OP

#endif
