/* Builds without CUDA: no device is ever open, and nobody has one to ask these about. */
#include "kernels/kernels.h"
#include "kernels/versions.h"
#include <stddef.h>

ops *ops_cuda(device *d, dtype act, attention_choice attention)
{
    (void)act, (void)attention;
    REQUIRE(!d, "no device is ever open");
    return NULL;
}

void ops_cuda_free(ops *k) { REQUIRE(!k, "no device is ever open"); }

status attention_pick(attention_choice asked, device *d, dtype act, const attention_shape *shape,
                      attention_choice *picked, message *why)
{
    (void)asked, (void)act, (void)shape, (void)picked;
    REQUIRE(!d, "no device is ever open");
    return fail(why, ERR_USAGE, "there is no device to compute attention on");
}

int64_t gpu_cublas_version(void) { return 0; }

int64_t gpu_cudnn_version(void) { return 0; }
