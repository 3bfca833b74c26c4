/* Waits for a device end when the work is done, or at the limit, which stops the job with a sentence. The
 * work is a function of the host that sleeps. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "base/cuda/cuda.h"
#include <stdlib.h>
#include <time.h>

static bool emulated;

static void CUDART_CB nap(void *count)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    ++*(int *)count;
}

static void queue_naps(stream *s, int count, int *done)
{
    for (int i = 0; i < count; i++) CUDA_OK(cudaLaunchHostFunc(s->cuda, nap, done));
}

/* Sleeps longer than any wait; forever in the emulator, where functions run during a poll. */
static void queue_sleep(stream *s)
{
    static int ended; /* the stream of a process that gives up may still write it */
    queue_naps(s, 20, &ended);
}

static device *open_impatient(void)
{
    setenv("REMLA_DEVICE_SECONDS", "0.05", 1);
    setenv("FAKECUDA_FAIL", "cudaLaunchHostFunc:1:hang", 1);
    return device_open_first();
}

static void too_long(void *context)
{
    (void)context;
    device *d = open_impatient();
    queue_sleep(&d->compute);
    device_wait_stream(&d->compute, "waiting for naps");
}

static void too_long_event(void *context)
{
    (void)context;
    device *d = open_impatient();
    queue_sleep(&d->compute);
    CUDA_OK(cudaEventRecord(d->computed, d->compute.cuda));
    device_wait_event(d, d->computed, "waiting for an event");
}

static void too_long_sync(void *context)
{
    (void)context;
    device *d = open_impatient();
    queue_sleep(&d->communication);
    device_sync(d);
}

static void test_limit(void **state)
{
    (void)state;
    check_stops(too_long, NULL, ERR_DEVICE,
                "): waiting for naps: not done within 0.05 s (REMLA_DEVICE_SECONDS)");
    check_stops(too_long, NULL, ERR_DEVICE, "GPU 0 (");
    check_stops(too_long_event, NULL, ERR_DEVICE, "): waiting for an event: not done within 0.05 s");
    check_stops(too_long_sync, NULL, ERR_DEVICE, "): waiting for the other ranks: not done within 0.05 s");
}

static void fault(void *context)
{
    (void)context;
    setenv("FAKECUDA_FAIL", "cudaStreamQuery:1", 1);
    device_wait_stream(&device_open_first()->compute, "waiting for naps");
}

static void test_fault(void **state)
{
    (void)state;
    if (!emulated) skip();
    check_stops(fault, NULL, ERR_DEVICE, "): waiting for naps (");
    check_stops(fault, NULL, ERR_DEVICE, "(cudaErrorIllegalAddress)");
}

static void test_waits(void **state)
{
    (void)state;
    device *d = device_open_first();
    int done = 0;
    device_wait_stream(&d->compute, "waiting for nothing");
    device_wait_event(d, d->computed, "waiting for an event that nobody recorded");
    queue_naps(&d->compute, 2, &done);
    device_wait_stream(&d->compute, "waiting for naps");
    assert_int_equal(done, 2);
    queue_naps(&d->compute, 2, &done);
    CUDA_OK(cudaEventRecord(d->computed, d->compute.cuda));
    device_wait_event(d, d->computed, "waiting for an event");
    assert_int_equal(done, 4);
    assert_int_equal(cudaGetLastError(), cudaSuccess); /* "not ready" is forgotten */
    queue_naps(&d->communication, 2, &done);
    CUDA_OK(cudaEventRecord(d->computed, d->communication.cuda));
    CUDA_OK(cudaStreamWaitEvent(d->compute.cuda, d->computed, 0));
    queue_naps(&d->compute, 1, &done);
    device_sync(d);
    assert_int_equal(done, 7);
    queue_naps(&d->compute, 1, &done);
    device_close(d);
    assert_int_equal(done, 8);
}

int main(void)
{
    if (!device_here(&emulated)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limit), cmocka_unit_test(test_fault),
                                       cmocka_unit_test(test_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
