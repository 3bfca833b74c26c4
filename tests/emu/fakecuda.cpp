// The device itself: what there is, errors, and launches.
#include "tests/emu/fake.h"
#include "tests/emu/simt_run.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace fake
{

void error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "FAKECUDA ERROR: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    abort();
}

long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, nullptr, 10) : otherwise;
}

// FAKECUDA_FAIL=function:n[:how] makes the n-th call, counted from 1, of a function of this library, or of
// "launch" or a collective, fail. how: fail, with the error that is usual there (the default); hang: what it
// queues never ends; later: the collective hangs and its communicator has an error.
failure fails(const char *function)
{
    static const char *plan = getenv("FAKECUDA_FAIL");
    static long calls;
    const size_t length = strlen(function);
    if (!plan || strncmp(plan, function, length) != 0 || plan[length] != ':') return NONE;
    char *rest;
    const long n = strtol(plan + length + 1, &rest, 10);
    if (++calls != n) return NONE;
    return strcmp(rest, ":hang") == 0 ? HANG : strcmp(rest, ":later") == 0 ? LATER : FAIL;
}

static cudaError_t last_error = cudaSuccess;
cudaError_t failed(cudaError_t code) { return last_error = code; }

const gpu &this_gpu()
{
    static const gpu all[] = {
        {75, 40, 64, "Fake T4"}, // too old for remla
        {80, 108, 163, "Fake A100"},  {89, 142, 99, "Fake L40S"},         {90, 132, 227, "Fake H100"},
        {100, 148, 227, "Fake B200"}, {120, 188, 99, "Fake RTX PRO 6000"}};
    static const long capability = setting("FAKECUDA_ARCH", 90);
    for (const gpu &g : all)
        if (g.capability == capability) return g;
    error("FAKECUDA_ARCH=%ld is not known", capability);
}

static int devices() { return (int)setting("FAKECUDA_DEVICES", 8); }

} // namespace fake

using namespace fake;

// ---- launches

cudaError_t simt::enqueue(const launch &l, cudaStream_t stream, std::function<void()> thread)
{
    const dim3 g = l.grid, b = l.block;
    const size_t threads = (size_t)b.x * b.y * b.z, limit = (size_t)this_gpu().shared_kib << 10;
    const failure f = fails("launch");
    if (f == FAIL) return failed(cudaErrorLaunchFailure);
    if (f == HANG) return queue(stream, [] { return false; });
    if (threads == 0 || threads > 1024 || b.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffff ||
        g.y > 65535 || g.z > 65535)
        return failed(cudaErrorInvalidConfiguration);
    if (l.shared_bytes > limit) return failed(cudaErrorInvalidValue);
    return fake::enqueue(stream, [=] { run(l, limit, thread); });
}

void simt::check_pointer(const char *kernel, const void *argument)
{
    if (argument && !on_device(argument))
        error("kernel %s got %p, which is not memory of the device", kernel, argument);
}

// A structure has no types any more: a word that is an address of this process is taken for a pointer.
void simt::check_words(const char *kernel, const void *argument, size_t bytes)
{
    for (size_t i = 0; i + sizeof(void *) <= bytes; i += sizeof(void *)) {
        uintptr_t word;
        unsigned char resident;
        memcpy(&word, (const char *)argument + i, sizeof word);
        if (word < uintptr_t(1) << 32 || word >> 47 != 0 || on_device((void *)word)) continue;
        const uintptr_t page = word & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
        if (mincore((void *)page, 1, &resident) == 0)
            error("kernel %s got %p in a structure, which is memory of the host", kernel, (void *)word);
    }
}

extern "C" {

// ---- errors

cudaError_t cudaGetLastError(void)
{
    const cudaError_t code = last_error;
    last_error = cudaSuccess;
    return code;
}

#define ERRORS(X)                                                                                            \
    X(cudaSuccess, "no error")                                                                               \
    X(cudaErrorInvalidValue, "invalid argument")                                                             \
    X(cudaErrorMemoryAllocation, "out of memory")                                                            \
    X(cudaErrorInvalidConfiguration, "invalid configuration argument")                                       \
    X(cudaErrorInvalidDevice, "invalid device ordinal")                                                      \
    X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                               \
    X(cudaErrorNotReady, "device not ready")                                                                 \
    X(cudaErrorLaunchFailure, "unspecified launch failure")                                                  \
    X(cudaErrorIllegalAddress, "an illegal memory access was encountered")
const char *cudaGetErrorString(cudaError_t code)
{
#define X(name, text)                                                                                        \
    if (code == name) return text;
    ERRORS(X)
#undef X
    return "unrecognized error code";
}
const char *cudaGetErrorName(cudaError_t code)
{
#define X(name, text)                                                                                        \
    if (code == name) return #name;
    ERRORS(X)
#undef X
    return "unrecognized error code";
}

// ---- devices

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = devices();
    return *count > 0 ? cudaSuccess : failed(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device)
{
    if (device < 0 || device >= devices()) return failed(cudaErrorInvalidDevice);
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (device < 0 || device >= devices()) return failed(cudaErrorInvalidDevice);
    const gpu &g = this_gpu();
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", g.name);
    p->major = g.capability / 10;
    p->minor = g.capability % 10;
    p->multiProcessorCount = g.multiprocessors;
    p->sharedMemPerBlock = 48 << 10;
    p->sharedMemPerBlockOptin = (size_t)g.shared_kib << 10;
    p->sharedMemPerMultiprocessor = (size_t)(g.shared_kib + 1) << 10;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->regsPerBlock = 65536;
    p->pciBusID = device + 1;
    size_t free_bytes;
    return cudaMemGetInfo(&free_bytes, &p->totalGlobalMem);
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    if (device < 0 || device >= devices()) return failed(cudaErrorInvalidDevice);
    if (attribute != cudaDevAttrClockRate)
        error("cudaDeviceGetAttribute: attribute %d is not known here", (int)attribute);
    *value = 1980000;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}
}
