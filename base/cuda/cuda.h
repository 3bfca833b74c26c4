/* The insides of base/device.h, private to the sources of base/ and kernels/ that call CUDA (C11 and C++).
 * Rules: all work goes to the stream that the caller names; CUDA's NULL stream is never used; an op waits for
 * nothing, except where it needs a slot of the staging ring or brings a result to the host. */
#ifndef REMLA_BASE_CUDA_CUDA_H
#define REMLA_BASE_CUDA_CUDA_H
#include "base/device.h"
#include <cuda_runtime_api.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct stream {
    struct device *device;
    cudaStream_t cuda;

    void *workspace; /* device memory, aligned to 256; any op that queues work on this stream may use it, and
                        nothing in it outlives the op */
    int64_t workspace_bytes; /* some ops work in pieces of it: the size can change the last bits of their
                                results */

    struct staging *staging; /* NULL on a stream that does not copy to or from the host */

    /* Handles that kernels/ keeps with a stream, made when first needed. device_close calls the function
     * beside each. */
    struct cublas *cublas;
    void (*cublas_free)(struct cublas *handle);
    struct cudnn *cudnn;
    void (*cudnn_free)(struct cudnn *handle);
};

/* Copy n reuses the event of copy n - COPY_EVENTS: who waits for the older one then waits for the newer,
 * which is queued already. */
enum { COPY_EVENTS = 16 };

/* Of copies.c: streams beside the computing one, and what orders them. */
typedef struct device_copies {
    struct stream in, out;
    cudaEvent_t computed;             /* a copy waits for the compute stream with it */
    cudaEvent_t left;                 /* behind the copy out that was queued last */
    cudaEvent_t arrived[COPY_EVENTS]; /* behind copy n to the device: n % COPY_EVENTS */
    uint64_t made;                    /* copies to the device so far */
} device_copies;

struct device {
    int index;            /* CUDA's number of it */
    int capability;       /* 80, 89, 90, 100, 120: major * 10 + minor */
    int multiprocessors;  /* to size grids by */
    int64_t shared_bytes; /* of shared memory that a block can have (opt-in) */
    int64_t memory_bytes;
    char name[256], pci[32], text[384];

    struct stream compute;         /* device_stream */
    struct stream communication;   /* of comm_nccl.c: runs beside that; no workspace, no staging */
    const struct watcher *watcher; /* NULL: only the clock ends a wait */
    cudaEvent_t computed;          /* the communication stream waits for the compute stream with it */
    device_copies copies;
    double wait_limit; /* seconds, as limit_name says */
    const char *limit_name;
    double own_limit; /* of REMLA_DEVICE_SECONDS; holds where no other is set */
};

/* Stops the job unless `call` returned cudaSuccess. CUDA reports faults of kernels late: the call that is
 * named may be a later one than the one that failed. */
#define CUDA_OK(call)                                                                                        \
    do {                                                                                                     \
        const cudaError_t cuda_ok_ = (call);                                                                 \
        if (cuda_ok_ != cudaSuccess) cuda_failed(cuda_ok_, #call, __FILE__, __LINE__);                       \
    } while (0)
void cuda_failed(cudaError_t code, const char *call, const char *file, int line) __attribute__((noreturn));

/* Pauses between two polls of a wait that has lasted `waited` seconds. Most waits are for a few microseconds:
 * in the first millisecond it only yields to other threads of this core, later it sleeps for 50 microseconds.
 */
void device_wait_pause(double waited);

/* Sets the limit of waits that begin from now on; 0: the environment's. */
void device_wait_limit(struct device *d, double seconds);

/* Wait for everything queued on `s` so far, or for an event. After the device's time limit, or when a peer is
 * lost, they stop the job with a sentence that begins with `what`: "waiting for a download". */
void device_wait_stream(struct stream *s, const char *what);
void device_wait_event(struct device *d, cudaEvent_t event, const char *what);

/* ---- staging.c: pinned memory between the device and the rest of the host ------------------------------ */

/* Copies between device and host overlap with computing, and do not wait, only from pinned memory, of which
 * there should be little: a ring of slots. An upload of any size:
 *
 *     for (each piece of at most STAGING_BYTES) {
 *         staging_slot *slot = staging_take(s, bytes);                     waits for the slot's last copy
 *         memcpy(slot->host, from, bytes);
 *         CUDA_OK(cudaMemcpyAsync(device, slot->host, bytes, cudaMemcpyHostToDevice, s->cuda));
 *         staging_queued(s, slot);
 *     }
 *
 * A download queues its copy into the slot, staging_queued, and then staging_wait before it reads slot->host;
 * it may have up to STAGING_SLOTS pieces under way. */
enum { STAGING_BYTES = 4 << 20, STAGING_SLOTS = 4 };

typedef struct staging_slot {
    void *host; /* STAGING_BYTES, pinned */
    cudaEvent_t done;
    bool queued; /* work that uses it has been queued since it was taken */
} staging_slot;

/* Takes the slot that was taken longest ago, when the work queued on it is done. `bytes` at most
 * STAGING_BYTES. */
staging_slot *staging_take(struct stream *s, int64_t bytes);
/* Records that the work queued on `s` until now uses the slot. */
void staging_queued(struct stream *s, staging_slot *slot);
/* Waits until that work is done. */
void staging_wait(struct stream *s, staging_slot *slot);

/* ---- private to base/ ---------------------------------------------------------------------------------- */

status staging_open(struct stream *s, message *why);
void staging_close(struct stream *s);

/* Stops the job: "HOST, GPU 0 (name, place): call: text". Aborts the communicator first. */
void device_failed(struct device *d, const char *call, const char *text) __attribute__((noreturn));
struct device *device_opened(void); /* the process's device, for errors in code that has none at hand */

/* A source of work on the device that waits for other machines (comm_nccl.c). It sets device.watcher while it
 * has work there; every wait asks it. */
typedef struct watcher {
    /* The error that it knows of, or NULL. */
    const char *(*trouble)(struct device *d);
    /* The other machines, for the end of a sentence ("; the state of ranks 0 to 2 ..."), or "". */
    const char *(*peers)(const struct device *d);
    /* Makes its kernels leave the device; takes a few seconds at most. */
    void (*abandon)(struct device *d);
} watcher;

#ifdef __cplusplus
}
#endif
#endif
