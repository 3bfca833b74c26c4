/* Builds with CUDA: the device is opened when memory is first asked for. Without one the tests run on the
 * CPU's tables alone, and say so. */
#include "tests/support/memory.h"
#include "base/cuda.h"
#include <stdio.h>
#include <stdlib.h>

static device *the_device;

static device *device_of_tests(void)
{
    static bool asked;
    message why;
    if (!asked && device_open(&the_device, 0, &why) != OK)
        fprintf(stderr, "the CUDA tables are not tested: %s\n", why.text);
    asked = true;
    return the_device;
}

void *memory_get(size_t bytes)
{
    if (!device_of_tests()) return aligned_alloc(64, (bytes + 63) / 64 * 64);
    void *memory = NULL;
    CUDA_OK(cudaHostAlloc(&memory, bytes, cudaHostAllocMapped | cudaHostAllocPortable));
    return memory;
}

void memory_free(void *memory)
{
    if (!the_device) {
        free(memory);
        return;
    }
    memory_settle();
    CUDA_OK(cudaFreeHost(memory));
}

void memory_settle(void)
{
    if (the_device) device_sync(the_device);
}

const ops *memory_table(int i)
{
    static const dtype types[] = {F32, BF16};
    static const ops *made[2];
    if (i >= 2 || !device_of_tests()) return NULL;
    if (!made[i]) made[i] = ops_cuda(the_device, types[i], ATTENTION_AUTO);
    return made[i];
}
