/* The tables of the CPU. An op that is missing from kernels/ is an undefined symbol here, named by the
 * linker. */
#include "kernels/kernels.h"

#define OP(op, params)                                                                                       \
    void op##_cpu_f32 params;                                                                                \
    void op##_cpu_f64 params;
#include "kernels/ops.def"
#undef OP

static const ops cpu_f32 = {
    .name = "cpu f32",
    .act = F32,
    .real = F32,
    .head_rows = HEAD_ROWS_CPU,
#define OP(op, params) .op = op##_cpu_f32,
#include "kernels/ops.def"
#undef OP
};

static const ops cpu_f64 = {
    .name = "cpu f64",
    .act = F64,
    .real = F64,
    .head_rows = HEAD_ROWS_CPU,
#define OP(op, params) .op = op##_cpu_f64,
#include "kernels/ops.def"
#undef OP
};

const ops *ops_cpu_f32(void) { return &cpu_f32; }
const ops *ops_cpu_f64(void) { return &cpu_f64; }
