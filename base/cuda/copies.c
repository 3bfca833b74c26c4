/* Copies between the device and pinned memory of the host, beside the computing: a stream in either
 * direction, for GPUs have an engine for each. What is streamed through slots goes round like this:
 *
 *     in        fill slot 0 | fill slot 1 | fill slot 2 | ....left.... | fill slot 0 again
 *                   \ arrived[0]                              ^
 *     compute        work on slot 0 \ computed                |
 *     out                            empty slot 0 ------------+ left
 *
 * A copy runs behind what was queued on the compute stream before it (`computed`), a copy in also behind the
 * copies out before it (`left`): nothing is overwritten that is still read, on the device or on the host. The
 * host waits for nothing but in device_copies_finish. */
#include "base/cuda/cuda.h"
#include "base/memory_available.h"
#include <string.h>

static const double MIB = 1048576.0;

/* ---- memory -------------------------------------------------------------------------------------------- */

void *device_reserve_pinned(device *d, int64_t bytes, const char *name)
{
    void *memory = NULL;
    const int64_t available = memory_available_bytes();
    /* The system would rather kill this process than refuse. */
    cudaError_t code = cudaErrorMemoryAllocation;
    if (bytes <= available)
        code = cudaHostAlloc(&memory, bytes > 0 ? (size_t)bytes : 1, cudaHostAllocDefault);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        die(ERR_DEVICE,
            "no pinned host memory for %s of GPU %d (%s): %.1f MiB asked, %.1f MiB available on this host",
            name, d->index, d->text, (double)bytes / MIB, (double)available / MIB);
    }
    CUDA_OK(code);
#ifdef REMLA_POISON
    memset(memory, 0xff, (size_t)bytes); /* NaN */
#endif
    return memory;
}

void device_release_pinned(device *d, void *memory)
{
    if (!memory) return;
    device_sync(d);
    CUDA_OK(cudaFreeHost(memory));
}

/* ---- copies -------------------------------------------------------------------------------------------- */

/* Makes a stream wait for all that is queued on the compute stream, and returns it. */
static cudaStream_t behind_compute(device *d, const stream *s)
{
    CUDA_OK(cudaEventRecord(d->copies.computed, d->compute.cuda));
    CUDA_OK(cudaStreamWaitEvent(s->cuda, d->copies.computed, 0));
    return s->cuda;
}

device_ticket device_copy_in(device *d, void *to, const void *from, int64_t bytes)
{
    device_copies *const c = &d->copies;
    cudaStream_t const in = behind_compute(d, &c->in);
    CUDA_OK(cudaStreamWaitEvent(in, c->left, 0));
    CUDA_OK(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyHostToDevice, in));
    const uint64_t copy = ++c->made;
    CUDA_OK(cudaEventRecord(c->arrived[copy % COPY_EVENTS], in));
    return (device_ticket){copy};
}

void device_copy_out(device *d, void *to, const void *from, int64_t bytes)
{
    cudaStream_t const out = behind_compute(d, &d->copies.out);
    CUDA_OK(cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToHost, out));
    CUDA_OK(cudaEventRecord(d->copies.left, out));
}

void device_wait(device *d, device_ticket ticket)
{
    const device_copies *const c = &d->copies;
    if (!ticket.copy) return;
    REQUIRE(ticket.copy <= c->made, "a wait for copy %llu of %llu", (unsigned long long)ticket.copy,
            (unsigned long long)c->made);
    CUDA_OK(cudaStreamWaitEvent(d->compute.cuda, c->arrived[ticket.copy % COPY_EVENTS], 0));
}

void device_copies_finish(device *d)
{
    device_wait_stream(&d->copies.in, "waiting for copies to the device");
    device_wait_stream(&d->copies.out, "waiting for copies to the host");
}
