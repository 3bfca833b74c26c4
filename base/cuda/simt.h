/* Private to base/ and kernels/: what makes one .cu file a program for nvcc and for the host's C++ compiler
 * alike. For the latter this header and kernels/cuda/mma.h are empty: the build puts the emulator of
 * tests/emu before the file, which has the same names. Beside these macros kernels are plain CUDA C++.
 *
 *     SHARED(float, part, [8][32]);   static shared memory, aligned to 16 bytes
 *     DYN_SHARED(act, tile);          dynamic shared memory, aligned to 128 bytes: an act *
 *     SIMT_LAUNCH(kernel, grid, block, shared_bytes, cuda_stream, arguments...)   a cudaError_t, see CUDA_OK
 *
 * Instructions that C++ has no name for are in kernels/cuda/mma.h. */
#ifndef REMLA_BASE_CUDA_SIMT_H
#define REMLA_BASE_CUDA_SIMT_H
#ifdef __CUDACC__
#include <cuda_runtime.h>
#include <stddef.h>

#define SHARED(type, name, dims) __shared__ __align__(16) type name dims
#define DYN_SHARED(type, name)                                                                               \
    extern __shared__ __align__(128) unsigned char simt_dynamic[];                                           \
    type *name = (type *)simt_dynamic

/* Arguments are converted to the kernel's own types, so that a wrong one does not compile. */
template <class... Parameter, class... Argument>
static inline cudaError_t simt_launch(void (*kernel)(Parameter...), dim3 grid, dim3 block,
                                      size_t shared_bytes, cudaStream_t stream, Argument... argument)
{
    /* More than 48 KiB, static arrays included (which are below 8 KiB everywhere), must be requested. */
    if (shared_bytes > 40 * 1024) {
        const cudaError_t set = cudaFuncSetAttribute(
            (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
        if (set != cudaSuccess) return set;
    }
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameter>(argument)...);
    return cudaGetLastError();
}
#define SIMT_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                          \
    simt_launch(kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
#endif
#endif
