/* Opens a GPU and allocates its memory. Faults before the device is open are reported as a status, because a
 * program built for GPUs is also started on machines without one. Waits, and faults after opening, are in
 * device_wait.c. */
#include "base/cuda/cuda.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST = 80 }; /* Ampere: the first with bf16 and asynchronous copies into shared memory */

static const double MIB = 1048576.0, GIB = 1073741824.0;
static device *opened;

device *device_opened(void) { return opened; }

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Writes " (CUDA_VISIBLE_DEVICES is '3')" if that variable is set, else "". */
static const char *visible(char *buffer, size_t size)
{
    const char *const set = getenv("CUDA_VISIBLE_DEVICES");
    if (set)
        snprintf(buffer, size, " (CUDA_VISIBLE_DEVICES is '%s')", set);
    else
        buffer[0] = 0;
    return buffer;
}

/* CUDA has one code for a driver that is too old and for none. */
static status old_driver(message *why)
{
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver); /* 0: none */
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return fail(why, ERR_DEVICE, "no NVIDIA driver is installed on this machine (no libcuda.so.1)");
    return fail(why, ERR_DEVICE,
                "the NVIDIA driver is for CUDA %d.%d, expected %d.0 or newer: install a newer driver",
                driver / 1000, driver % 1000 / 10, runtime / 1000);
}

static status count_devices(int *count, message *why)
{
    char set[128];
    const cudaError_t code = cudaGetDeviceCount(count);
    switch (code) {
    case cudaSuccess:
        return OK;
    case cudaErrorInsufficientDriver:
        return old_driver(why);
    case cudaErrorStubLibrary:
        return fail(
            why, ERR_DEVICE,
            "the libcuda.so.1 that was found is the CUDA toolkit's stub, not a driver: take its folder "
            "out of LD_LIBRARY_PATH");
    case cudaErrorNoDevice:
        return fail(why, ERR_DEVICE, "the NVIDIA driver shows no GPU%s", visible(set, sizeof set));
    default:
        return fail(why, ERR_DEVICE, "the GPUs cannot be counted: %s (%s)", cudaGetErrorString(code),
                    cudaGetErrorName(code));
    }
}

static status pick(device *d, int local_rank, message *why)
{
    char set[128];
    int count = 0;
    TRY(count_devices(&count, why));
    /* Some launchers show every rank one GPU, its own. (Ranks that do share one hear of it from NCCL.) */
    d->index = count == 1 && getenv("CUDA_VISIBLE_DEVICES") ? 0 : local_rank;
    if (d->index < count) return OK;
    return fail(
        why, ERR_DEVICE,
        "rank %d of this host (counted from 0) sees %d GPU%s%s, expected one for each rank: start fewer "
        "ranks, or, if the launcher shows each rank a GPU of its own, have it show all (srun "
        "--gpu-bind=none)",
        local_rank, count, count == 1 ? "" : "s", visible(set, sizeof set));
}

#define OPENING(call)                                                                                        \
    do {                                                                                                     \
        const cudaError_t code_ = (call);                                                                    \
        if (code_ != cudaSuccess)                                                                            \
            return fail(why, ERR_DEVICE, "GPU %d cannot be used: %s: %s (%s)", d->index, #call,              \
                        cudaGetErrorString(code_), cudaGetErrorName(code_));                                 \
    } while (0)

static status describe(device *d, message *why)
{
    struct cudaDeviceProp p;
    OPENING(cudaGetDeviceProperties(&p, d->index));
    d->capability = p.major * 10 + p.minor;
    d->multiprocessors = p.multiProcessorCount;
    d->shared_bytes = (int64_t)p.sharedMemPerBlockOptin;
    d->memory_bytes = (int64_t)p.totalGlobalMem;
    snprintf(d->name, sizeof d->name, "%s", p.name);
    snprintf(d->pci, sizeof d->pci, "%04x:%02x:%02x.0", p.pciDomainID, p.pciBusID, p.pciDeviceID);
    snprintf(d->text, sizeof d->text, "%s, %.1f GiB, sm_%d, %d SMs, %s", d->name,
             (double)d->memory_bytes / GIB, d->capability, d->multiprocessors, d->pci);
    if (d->capability >= OLDEST) return OK;
    return fail(why, ERR_DEVICE, "GPU %d (%s) has compute capability %d.%d, expected %d.%d or newer",
                d->index, d->name, p.major, p.minor, OLDEST / 10, OLDEST % 10);
}

static status read_limit(device *d, message *why)
{
    const char *const text = getenv("REMLA_DEVICE_SECONDS");
    char *end;
    d->own_limit = 600;
    if (text) {
        d->own_limit = strtod(text, &end);
        if (end == text || *end || !(d->own_limit > 0 && d->own_limit <= 1e7))
            return fail(why, ERR_USAGE,
                        "the environment's REMLA_DEVICE_SECONDS is '%s', expected a number of seconds", text);
    }
    device_wait_limit(d, 0);
    return OK;
}

static status stream_open(device *d, stream *s, bool urgent, message *why)
{
    s->device = d;
    int least, greatest;
    OPENING(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    OPENING(cudaStreamCreateWithPriority(&s->cuda, cudaStreamNonBlocking, /* blind to the NULL stream */
                                         urgent ? greatest : least));
    return OK;
}

static status copies_open(device *d, device_copies *c, message *why)
{
    TRY(stream_open(d, &c->in, false, why));
    TRY(stream_open(d, &c->out, false, why));
    OPENING(cudaEventCreateWithFlags(&c->computed, cudaEventDisableTiming));
    OPENING(cudaEventCreateWithFlags(&c->left, cudaEventDisableTiming));
    for (int i = 0; i < COPY_EVENTS; i++)
        OPENING(cudaEventCreateWithFlags(&c->arrived[i], cudaEventDisableTiming));
    return OK;
}

static void copies_close(device_copies *c)
{
    for (int i = 0; i < COPY_EVENTS; i++)
        if (c->arrived[i]) CUDA_OK(cudaEventDestroy(c->arrived[i]));
    if (c->left) CUDA_OK(cudaEventDestroy(c->left));
    if (c->computed) CUDA_OK(cudaEventDestroy(c->computed));
    if (c->in.cuda) CUDA_OK(cudaStreamDestroy(c->in.cuda));
    if (c->out.cuda) CUDA_OK(cudaStreamDestroy(c->out.cuda));
}

static status workspace_open(device *d, stream *s, int64_t bytes, message *why)
{
    OPENING(cudaMalloc(&s->workspace, (size_t)bytes));
    s->workspace_bytes = bytes;
    return OK;
}

static status open_device(device *d, int local_rank, message *why)
{
    enum { WORKSPACE = 64 << 20 }; /* more than cuBLAS wants on any GPU (32 MiB, Hopper) */
    TRY(read_limit(d, why));
    TRY(pick(d, local_rank, why));
    TRY(describe(d, why));
    OPENING(cudaSetDevice(d->index));
    TRY(stream_open(d, &d->compute, false, why));
    /* Communication has priority: it needs few blocks, and other ranks wait for it. */
    TRY(stream_open(d, &d->communication, true, why));
    OPENING(cudaEventCreateWithFlags(&d->computed, cudaEventDisableTiming));
    TRY(copies_open(d, &d->copies, why));
    TRY(staging_open(&d->compute, why));
    return workspace_open(d, &d->compute, WORKSPACE, why);
}

/* Frees everything; the device is idle. Whatever was not made, because opening failed half-way, is NULL. */
static void give_back(device *d)
{
    stream *const s = &d->compute;
    if (s->cudnn) s->cudnn_free(s->cudnn);
    if (s->cublas) s->cublas_free(s->cublas);
    staging_close(s);
    copies_close(&d->copies);
    if (s->workspace) CUDA_OK(cudaFree(s->workspace));
    if (d->computed) CUDA_OK(cudaEventDestroy(d->computed));
    if (s->cuda) CUDA_OK(cudaStreamDestroy(s->cuda));
    if (d->communication.cuda) CUDA_OK(cudaStreamDestroy(d->communication.cuda));
    opened = NULL;
    free(d);
}

status device_open(device **out, int local_rank, message *why)
{
    *out = NULL;
    REQUIRE(!opened, "a process has one device");
    REQUIRE(local_rank >= 0, "rank %d", local_rank);
    device *const d = memory_new(1, sizeof *d, "the description of a GPU");
    const status s = open_device(d, local_rank, why);
    if (s == OK)
        *out = opened = d;
    else
        give_back(d);
    return s;
}

void device_close(device *d)
{
    if (!d) return;
    REQUIRE(!d->watcher, "the communicator of the device has not been stopped");
    device_sync(d);
    give_back(d);
}

const char *device_text(const device *d) { return d->text; }

void device_versions_read(const device *d, device_versions *v)
{
    *v = (device_versions){.runtime = 0};
    snprintf(v->gpu, sizeof v->gpu, "%s, sm_%d", d->name, d->capability);
    CUDA_OK(cudaDriverGetVersion(&v->driver_cuda));
    CUDA_OK(cudaRuntimeGetVersion(&v->runtime));
    FILE *file = fopen("/sys/module/nvidia/version", "r");
    if (!file) return;
    if (fgets(v->driver, sizeof v->driver, file)) v->driver[strcspn(v->driver, "\n")] = 0;
    fclose(file);
}

double device_peak_flops(const device *d, bool bf16)
{
    /* A multiprocessor's multiply-adds in a clock: dense bf16 with f32 sums on its tensor cores, from
     * NVIDIA's figures of A100, L40S, H100, B200 and RTX PRO 6000; 128 f32 lanes, 64 on A100. */
    const double bf16_lanes = d->capability == 80   ? 1024
                              : d->capability < 90  ? 512
                              : d->capability < 100 ? 2048
                              : d->capability < 120 ? 4096
                                                    : 512;
    const double f32_lanes = d->capability == 80 ? 64 : 128;
    int kilohertz;
    CUDA_OK(cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, d->index));
    if (kilohertz <= 0) kilohertz = 1500000; /* some drivers do not say */
    return 2 * (bf16 ? bf16_lanes : f32_lanes) * d->multiprocessors * kilohertz * 1e3;
}

stream *device_stream(device *d) { return &d->compute; }

/* ---- memory -------------------------------------------------------------------------------------------- */

void *device_reserve(device *d, int64_t bytes, const char *name)
{
    void *memory = NULL;
    const cudaError_t code = cudaMalloc(&memory, bytes > 0 ? (size_t)bytes : 1);
    if (code == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, all_bytes = 0;
        (void)cudaGetLastError();
        CUDA_OK(cudaMemGetInfo(&free_bytes, &all_bytes));
        die(ERR_DEVICE, "no memory for %s on GPU %d (%s): %.1f MiB asked, %.1f MiB free of %.1f MiB", name,
            d->index, d->text, (double)bytes / MIB, (double)free_bytes / MIB, (double)all_bytes / MIB);
    }
    CUDA_OK(code);
#ifdef REMLA_POISON
    if (bytes > 0) CUDA_OK(cudaMemsetAsync(memory, 0xff, (size_t)bytes, d->compute.cuda)); /* NaN */
#endif
    return memory;
}

void device_release(device *d, void *memory)
{
    if (!memory) return;
    device_sync(d); /* cudaFree waits too, but without a limit */
    CUDA_OK(cudaFree(memory));
}
