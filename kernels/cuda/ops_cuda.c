/* The tables of a GPU. An op that is missing from kernels/ is an undefined symbol here, named by the
 * linker. */
#include "base/device.h"
#include "base/memory.h"
#include "kernels/cuda/attention.h"
#include <stdlib.h>

#define OP(op, params)                                                                                       \
    void op##_cuda_f32 params;                                                                               \
    void op##_cuda_bf16 params;
#include "kernels/ops.def"
#undef OP

static const ops cuda_f32 = {
    .name = "cuda f32",
    .act = F32,
    .real = F32,
    .head_rows = HEAD_ROWS_DEVICE,
#define OP(op, params) .op = op##_cuda_f32,
#include "kernels/ops.def"
#undef OP
};

static const ops cuda_bf16 = {
    .name = "cuda bf16",
    .act = BF16,
    .real = F32,
    .head_rows = HEAD_ROWS_DEVICE,
#define OP(op, params) .op = op##_cuda_bf16,
#include "kernels/ops.def"
#undef OP
};

ops *ops_cuda(device *d, dtype act, attention_choice attention)
{
    REQUIRE(act == F32 || act == BF16, "no table of a device has activations of %s", dtype_name(act));
    ops *k = memory_new(1, sizeof *k, "a table of ops");
    *k = act == BF16 ? cuda_bf16 : cuda_f32;
    k->device = d;
    k->stream = device_stream(d);
    attention_use(k, attention);
    return k;
}

void ops_cuda_free(ops *k) { free(k); }
