/* The ring of pinned slots through which the host copies to and from the device (base/cuda/cuda.h shows how).
 * Slots are taken in turn; taking one waits for the copy that used it last:
 *
 *     slot 0 [copy queued]  slot 1 [copy queued]  slot 2 [free]  slot 3 [free]
 *                                                 ^ next: the slot that was taken longest ago */
#include "base/cuda/cuda.h"
#include "base/memory.h"
#include <stdlib.h>

struct staging {
    staging_slot slot[STAGING_SLOTS];
    int next; /* the slot that was taken longest ago */
};

status staging_open(struct stream *s, message *why)
{
    s->staging = memory_new(1, sizeof *s->staging, "the list of staging slots");
    for (staging_slot *slot = s->staging->slot; slot < s->staging->slot + STAGING_SLOTS; slot++) {
        cudaError_t code = cudaHostAlloc(&slot->host, STAGING_BYTES, cudaHostAllocDefault);
        if (code == cudaSuccess) code = cudaEventCreateWithFlags(&slot->done, cudaEventDisableTiming);
        if (code != cudaSuccess)
            return fail(why, ERR_DEVICE, "%d MiB of pinned host memory cannot be allocated: %s",
                        STAGING_SLOTS * (STAGING_BYTES >> 20), cudaGetErrorString(code));
    }
    return OK;
}

void staging_close(struct stream *s)
{
    if (!s->staging) return;
    for (staging_slot *slot = s->staging->slot; slot < s->staging->slot + STAGING_SLOTS; slot++) {
        if (slot->done) CUDA_OK(cudaEventDestroy(slot->done));
        if (slot->host) CUDA_OK(cudaFreeHost(slot->host));
    }
    free(s->staging);
    s->staging = NULL;
}

staging_slot *staging_take(struct stream *s, int64_t bytes)
{
    REQUIRE(s->staging, "a stream without a staging ring");
    REQUIRE(bytes >= 0 && bytes <= STAGING_BYTES, "%lld bytes, expected at most %d", (long long)bytes,
            STAGING_BYTES);
    staging_slot *const slot = &s->staging->slot[s->staging->next];
    s->staging->next = (s->staging->next + 1) % STAGING_SLOTS;
    staging_wait(s, slot);
    return slot;
}

void staging_queued(struct stream *s, staging_slot *slot)
{
    CUDA_OK(cudaEventRecord(slot->done, s->cuda));
    slot->queued = true;
}

void staging_wait(struct stream *s, staging_slot *slot)
{
    if (!slot->queued) return;
    device_wait_event(s->device, slot->done, "waiting for a copy between device and host");
    slot->queued = false;
}
