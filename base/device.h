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
 * watchdog in PyTorch), or than comm_limit of the device's communicator says, stops the job too. */
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

/* What decides its numbers: "NVIDIA H100 80GB HBM3, sm_90", the newest CUDA that its driver is for, 13000 is
 * 13.0, and the runtime's; the driver's own version, "580.65.06", "" where the system does not tell. */
typedef struct device_versions {
    char gpu[288], driver[32];
    int driver_cuda, runtime;
} device_versions;
void device_versions_read(const device *d, device_versions *v);

/* Allocates `bytes` of device memory, aligned to 256, or stops the job with a message that gives the purpose
 * (`name`), the size, and how much is free. The contents are arbitrary; NaN in builds with REMLA_POISON. */
void *device_reserve(device *d, int64_t bytes, const char *name);
void device_release(device *d, void *memory); /* waits for the device; NULL is allowed */

/* Allocates `bytes` of host memory that stays where it is (pinned), so that the device copies to and from it
 * beside its work, or stops the job with a message like that of device_reserve. The host reads and writes it
 * as any other, while no copy of it is under way. Contents as of device_reserve. */
void *device_reserve_pinned(device *d, int64_t bytes, const char *name);
void device_release_pinned(device *d, void *memory); /* waits for the device; NULL is allowed */

/* Returns the peak rate in FLOP/s at the highest clock, by NVIDIA's count: in bf16 on tensor cores, or in f32
 * outside them. */
double device_peak_flops(const device *d, bool bf16);

/* The queue on which the ops compute. */
stream *device_stream(device *d);

/* Waits until everything that was queued on the device, communication and copies included, is done. */
void device_sync(device *d);

/* ---- copies beside the computing ----------------------------------------------------------------------- */

/* Queue a copy between memory of the device and pinned memory of its host, and return. A copy runs behind
 * what was queued on the device's stream until then; a copy in also behind all copies out that were queued
 * before it. So memory that a copy out reads, on the device, or writes, on the host, may be named by a copy
 * in at once. Copies of one direction run in their order, and beside those of the other. */
typedef struct device_ticket {
    uint64_t copy; /* its number, from 1; 0: there is nothing to wait for */
} device_ticket;
device_ticket device_copy_in(device *d, void *to, const void *from, int64_t bytes);
void device_copy_out(device *d, void *to, const void *from, int64_t bytes);

/* Makes work queued on the device's stream from now on run behind that copy and those before it; the host
 * goes on at once. */
void device_wait(device *d, device_ticket ticket);
/* The host waits until all copies are done, in both directions: then it may touch the pinned memory. */
void device_copies_finish(device *d);

#ifdef __cplusplus
}
#endif
#endif
