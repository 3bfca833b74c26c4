/* A GPU, as the host sees it: memory, and a queue of work. No type of CUDA appears here, so that any source
 * can include this; base/cuda/cuda.h, private to the sources of base/ and kernels/ that call CUDA, has the
 * insides. In a build without CUDA there is no device: device_open says so.
 *
 * One device per process, opened by the thread that uses it; nothing here may be called by two threads at
 * once. Nothing here is collective. After device_open every fault of the device stops the job (ERR_DEVICE),
 * naming rank, host, device, call and CUDA's text: after a failed kernel the contents of memory are
 * undefined.
 *
 * Every wait has a limit: one that takes longer than the environment's REMLA_DEVICE_SECONDS (600, as NCCL's
 * watchdog in PyTorch) stops the job too. */
#ifndef REMLA_BASE_DEVICE_H
#define REMLA_BASE_DEVICE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct device device;
typedef struct stream stream; /* a queue of a device */

/* Opens GPU number `local_rank` of this host (comm.h), among those that CUDA_VISIBLE_DEVICES shows.
 * ERR_DEVICE and a sentence when there is no driver, no GPU, none for this rank, or one that is too old;
 * ERR_USAGE in a program that was built without CUDA. On failure *d is NULL. */
status device_open(device **d, int local_rank, message *why);
/* Waits for the device and gives everything back. Arenas are released and communicators stopped before. NULL
 * is allowed. */
void device_close(device *d);

/* "NVIDIA H100 80GB HBM3, 79.1 GiB, sm_90, 132 SMs, 0000:1b:00.0". Lives as long as the device. */
const char *device_text(const device *d);

/* Allocates `bytes` of device memory, aligned to 256, or stops the job with a message that gives the purpose
 * (`name`), the size, and how much is free. The contents are arbitrary; NaN in builds with REMLA_POISON. */
void *device_reserve(device *d, int64_t bytes, const char *name);
void device_release(device *d, void *memory); /* waits for the device; NULL is allowed */

/* Returns the peak rate in FLOP/s at the highest clock, by NVIDIA's count: in bf16 on tensor cores, or in f32
 * outside them. */
double device_peak_flops(const device *d, bool bf16);

/* The queue on which the ops compute. */
stream *device_stream(device *d);

/* Waits until everything that was queued on the device, communication included, is done. */
void device_sync(device *d);

#ifdef __cplusplus
}
#endif
#endif
