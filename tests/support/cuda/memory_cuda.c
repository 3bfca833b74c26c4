/* Builds with CUDA: the device is opened when memory is first requested. Without one the tests run on the
 * CPU's tables alone, and say so. */
#include "tests/support/memory.h"
#include "base/cuda/cuda.h"
#include <stdio.h>
#include <stdlib.h>

enum { TABLES = 2 }; /* f32, bf16 */

static device *the_device;
static ops *made[TABLES];

static void close_device(void)
{
    for (int i = 0; i < TABLES; i++)
        if (made[i]) ops_cuda_free(made[i]);
    device_close(the_device);
}

static device *device_of_tests(void)
{
    static bool asked;
    message why;
    if (!asked) {
        if (device_open(&the_device, 0, &why) == OK)
            atexit(close_device);
        else
            fprintf(stderr, "the CUDA tables are not tested: %s\n", why.text);
    }
    asked = true;
    return the_device;
}

void *memory_get(size_t bytes)
{
    if (!device_of_tests()) return memory_plain(bytes);
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
    static const dtype types[TABLES] = {F32, BF16};
    if (i >= TABLES || !device_of_tests()) return NULL;
    if (!made[i]) made[i] = ops_cuda(the_device, types[i], ATTENTION_AUTO);
    return made[i];
}
