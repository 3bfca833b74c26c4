/* A device for tests: a child process finds out whether there is one; copies go through the staging ring, as
 * those of the ops do. */
#include "tests/support/device.h"
#include "base/cuda/cuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool device_here(bool *emulated)
{
    enum { NONE, REAL, EMULATED };
    int result = 0;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        device *d;
        message why;
        if (device_open(&d, 0, &why) == OK) _exit(strncmp(d->name, "Fake ", 5) ? REAL : EMULATED);
        fprintf(stderr, "skipped, there is no device: %s\n", why.text);
        _exit(NONE);
    }
    REQUIRE(child > 0 && waitpid(child, &result, 0) == child && WIFEXITED(result), "a child process");
    if (emulated) *emulated = WEXITSTATUS(result) == EMULATED;
    return WEXITSTATUS(result) != NONE;
}

int device_orders_wrong(int orders, bool (*wrong)(const void *context), const void *context)
{
    int count = 0;
    for (int seed = 1; seed <= orders; seed++) {
        char text[12];
        int result;
        snprintf(text, sizeof text, "%d", seed);
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            setenv("FAKECUDA_LAZY", text, 1);
            _exit(wrong(context));
        }
        REQUIRE(child > 0 && waitpid(child, &result, 0) == child && WIFEXITED(result) &&
                    WEXITSTATUS(result) <= 1,
                "a child process");
        count += WEXITSTATUS(result);
    }
    return count;
}

device *device_open_first(void)
{
    device *d;
    message why;
    if (device_open(&d, 0, &why) != OK) die(ERR_DEVICE, "%s", why.text);
    return d;
}

void device_put(device *d, void *memory, const void *from, int64_t bytes)
{
    stream *const s = device_stream(d);
    for (int64_t done = 0; done < bytes; done += STAGING_BYTES) {
        const int64_t n = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        staging_slot *const slot = staging_take(s, n);
        memcpy(slot->host, (const char *)from + done, (size_t)n);
        CUDA_OK(
            cudaMemcpyAsync((char *)memory + done, slot->host, (size_t)n, cudaMemcpyHostToDevice, s->cuda));
        staging_queued(s, slot);
    }
}

void device_get(device *d, void *to, const void *memory, int64_t bytes)
{
    stream *const s = device_stream(d);
    for (int64_t done = 0; done < bytes; done += STAGING_BYTES) {
        const int64_t n = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        staging_slot *const slot = staging_take(s, n);
        CUDA_OK(cudaMemcpyAsync(slot->host, (const char *)memory + done, (size_t)n, cudaMemcpyDeviceToHost,
                                s->cuda));
        staging_queued(s, slot);
        staging_wait(s, slot);
        memcpy((char *)to + done, slot->host, (size_t)n);
    }
}
