// The CUDA runtime of the host: so far it only says how many devices there are.
#include <cuda_runtime_api.h>
#include <cstdlib>

extern "C" cudaError_t cudaGetDeviceCount(int *count)
{
    const char *text = getenv("FAKECUDA_DEVICES");
    *count = text ? atoi(text) : 1;
    return *count ? cudaSuccess : cudaErrorNoDevice;
}
