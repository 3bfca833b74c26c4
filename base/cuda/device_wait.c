/* Waits for the GPU with a time limit, and reports why it failed. CUDA's own waits have no limit: a rank
 * whose peer has died would hang in one until the user notices. So wait_for polls instead:
 *
 *     stream or event done?         return
 *     the watcher (NCCL) failed?    stop the job with its error
 *     over the time limit?          stop the job, naming the ranks that may be missing
 *     pause, and poll again
 *
 * Before the job stops, the watcher tells its kernels to leave the device. */
#include "base/clock.h"
#include "base/cuda/cuda.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void device_failed(device *d, const char *call, const char *text)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0) strcpy(host, "a host without a name");
    if (!d) die(ERR_DEVICE, "%s: %s: %s", host, call, text);
    if (d->watcher) d->watcher->abandon(d);
    die(ERR_DEVICE, "%s, GPU %d (%s, %s): %s: %s", host, d->index, d->name, d->pci, call, text);
}

void cuda_failed(cudaError_t code, const char *call, const char *file, int line)
{
    char where[512], text[512];
    snprintf(where, sizeof where, "%.300s (%s:%d)", call, file, line);
    snprintf(text, sizeof text, "%s (%s)", cudaGetErrorString(code), cudaGetErrorName(code));
    device_failed(device_opened(), where, text);
}

/* Stops the job if the watcher knows of an error or the time limit is over. */
static void check_progress(device *d, const char *what, double since)
{
    char text[256];
    const watcher *const w = d->watcher;
    const char *const trouble = w ? w->trouble(d) : NULL;
    if (trouble) device_failed(d, what, trouble);
    if (clock_seconds() - since <= d->wait_limit) return;
    snprintf(text, sizeof text, "not done within %g s (%s)%s", d->wait_limit, d->limit_name,
             w ? w->peers(d) : "");
    device_failed(d, what, text);
}

void device_wait_limit(device *d, double seconds)
{
    d->wait_limit = seconds > 0 ? seconds : d->own_limit;
    d->limit_name = seconds > 0 ? "parallel.timeout" : "REMLA_DEVICE_SECONDS";
}

void device_wait_pause(double waited)
{
    if (waited < 1e-3)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static cudaError_t ask(const stream *s, cudaEvent_t event)
{
    return s ? cudaStreamQuery(s->cuda) : cudaEventQuery(event);
}

/* Waits for a stream or, if that is NULL, for an event. */
static void wait_for(device *d, const stream *s, cudaEvent_t event, const char *what)
{
    cudaError_t code = ask(s, event);
    if (code == cudaErrorNotReady) {
        const double start = clock_seconds();
        do {
            check_progress(d, what, start);
            device_wait_pause(clock_seconds() - start);
            code = ask(s, event);
        } while (code == cudaErrorNotReady);
        (void)cudaGetLastError(); /* clears "not ready", which the next check of a launch would report */
    }
    if (code != cudaSuccess) cuda_failed(code, what, __FILE__, __LINE__);
}

void device_wait_stream(struct stream *s, const char *what) { wait_for(s->device, s, NULL, what); }

void device_wait_event(struct device *d, cudaEvent_t event, const char *what)
{
    wait_for(d, NULL, event, what);
}

void device_sync(device *d)
{
    device_wait_stream(&d->compute, "waiting for the device");
    device_wait_stream(&d->communication, "waiting for the other ranks");
    device_copies_finish(d);
}
