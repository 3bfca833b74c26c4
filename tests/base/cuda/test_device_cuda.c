/* Opening a device, its memory and arenas in it, and the sentences when something is wrong. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "base/arena.h"
#include "base/comm.h"
#include "base/cuda/cuda.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool emulated;

/* ---- what stops the job: in child processes, before this one speaks to the device ---------------------- */

static void twice(void *context)
{
    (void)context;
    device_open_first();
    device_open_first();
}

static void too_large(void *context)
{
    (void)context;
    arena a = {.name = "weights", .device = device_open_first()};
    arena_reserve(&a, (int64_t)1 << 50);
}

static void with_communicator(void *context)
{
    (void)context;
    device *d = device_open_first();
    comm_nccl_start(d, comm_self());
    device_close(d);
}

static void wrong_call(void *context)
{
    (void)context;
    device_open_first();
    CUDA_OK(cudaErrorIllegalAddress);
}

static void no_device(void *context)
{
    (void)context;
    CUDA_OK(cudaErrorIllegalAddress);
}

static void test_stops(void **state)
{
    (void)state;
    check_stops(twice, NULL, ERR_BUG, "a process has one device");
    check_stops(too_large, NULL, ERR_DEVICE, "no memory for the weights arena on GPU 0 (");
    check_stops(too_large, NULL, ERR_DEVICE, ": 1073741824.0 MiB asked, ");
    check_stops(with_communicator, NULL, ERR_BUG, "communicator of the device has not been stopped");
    check_stops(wrong_call, NULL, ERR_DEVICE, ", GPU 0 (");
    check_stops(wrong_call, NULL, ERR_DEVICE, "an illegal memory access was encountered");
    check_stops(no_device, NULL, ERR_DEVICE, "cudaErrorIllegalAddress (");
}

/* The emulator fails once, as `plan` says; the next attempt finds everything given back. */
static void fails_once(void *plan)
{
    device *d;
    message why;
    setenv("FAKECUDA_FAIL", plan, 1);
    if (device_open(&d, 0, &why) == OK || d) die(ERR_BUG, "opened");
    device_close(device_open_first());
    die(ERR_DEVICE, "%s", why.text);
}

static void too_old(void *context)
{
    (void)context;
    setenv("FAKECUDA_ARCH", "75", 1);
    device_open_first();
}

static void none_there(void *context)
{
    (void)context;
    setenv("CUDA_VISIBLE_DEVICES", "5", 1);
    setenv("FAKECUDA_DEVICES", "0", 1);
    device_open_first();
}

static void test_fails_once(void **state)
{
    (void)state;
    if (!emulated) skip();
    check_stops(fails_once, "cudaStreamCreate:1", ERR_DEVICE, "GPU 0 cannot be used: cudaStreamCreate");
    check_stops(fails_once, "cudaStreamCreate:2", ERR_DEVICE, "GPU 0 cannot be used: cudaStreamCreate");
    check_stops(fails_once, "cudaMalloc:1", ERR_DEVICE, "GPU 0 cannot be used: cudaMalloc(");
    check_stops(fails_once, "cudaHostAlloc:3", ERR_DEVICE,
                "16 MiB of pinned host memory cannot be allocated: ");
    check_stops(too_old, NULL, ERR_DEVICE,
                "GPU 0 (Fake T4) has compute capability 7.5, expected 8.0 or newer");
    check_stops(none_there, NULL, ERR_DEVICE, "the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES is '5')");
}

/* ---- what is a sentence -------------------------------------------------------------------------------- */

static void check_not_open(int local_rank, status code, const char *text)
{
    message why;
    device *d = (device *)&why;
    assert_int_equal(device_open(&d, local_rank, &why), code);
    assert_null(d);
    if (!strstr(why.text, text)) fail_msg("\"%s\" does not say \"%s\"", why.text, text);
}

static void test_not_opened(void **state)
{
    (void)state;
    check_not_open(1000, ERR_DEVICE, "rank 1000 of this host (counted from 0) sees ");
    check_not_open(1000, ERR_DEVICE, "expected one for each rank");
    static const char *const wrong[] = {"", "soon", "-1", "0", "nan", "1e9", "10 s"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[64];
        snprintf(text, sizeof text, "REMLA_DEVICE_SECONDS is '%s', expected", wrong[i]);
        setenv("REMLA_DEVICE_SECONDS", wrong[i], 1);
        check_not_open(0, ERR_USAGE, text);
    }
    setenv("REMLA_DEVICE_SECONDS", "1.5", 1);
    device *d = device_open_first();
    assert_true(d->wait_limit == 1.5);
    device_close(d);
    unsetenv("REMLA_DEVICE_SECONDS");
    device_close(NULL);
}

/* ---- what works ---------------------------------------------------------------------------------------- */

static void test_open(void **state)
{
    (void)state;
    for (int times = 0; times < 2; times++) {
        device *d = device_open_first();
        const stream *s = device_stream(d);
        assert_ptr_equal(s->device, d);
        assert_true(s->cuda && d->communication.cuda && s->cuda != d->communication.cuda);
        assert_int_equal(s->workspace_bytes, 64 << 20);
        assert_int_equal((uintptr_t)s->workspace % 256, 0);
        assert_true(d->capability >= 80 && d->multiprocessors > 0 && d->memory_bytes > 0);
        assert_true(d->shared_bytes >= 48 << 10 && d->wait_limit == 600);
        assert_non_null(strstr(device_text(d), d->name));
        assert_non_null(strstr(device_text(d), d->pci));
        device_versions v;
        device_versions_read(d, &v);
        assert_non_null(strstr(v.gpu, d->name));
        assert_true(v.runtime / 1000 >= 12 && v.driver_cuda / 1000 >= v.runtime / 1000);
        device_close(d);
    }
}

static void test_memory(void **state)
{
    (void)state;
    enum { BYTES = 100001 };
    device *d = device_open_first();
    char *a = device_reserve(d, BYTES, "a"), *b = device_reserve(d, 0, "b"), *host = malloc(BYTES);
    assert_non_null(b);
    assert_int_equal((uintptr_t)a % 256, 0);
#ifdef REMLA_POISON
    device_get(d, host, a, BYTES);
    for (int i = 0; i < BYTES; i++) assert_int_equal(host[i], (char)0xff);
#endif
    for (int i = 0; i < BYTES; i++) host[i] = (char)(i * 7 + i / 256);
    device_put(d, a, host, BYTES);
    memset(host, 0, BYTES);
    device_get(d, host, a, BYTES);
    for (int i = 0; i < BYTES; i++) assert_int_equal(host[i], (char)(i * 7 + i / 256));
    device_release(d, a);
    device_release(d, b);
    device_release(d, NULL);

    free(host);
    device_close(d);
}

static void test_arena(void **state)
{
    (void)state;
    device *d = device_open_first();
    arena plan = {.name = "plan", .device = d}, a = {.name = "step", .device = d};
    assert_null(arena_tensor(&plan, F32, "x", 5, 7).data);
    for (int times = 0; times < 2; times++) {
        float there[35], back[35];
        arena_reserve(&a, plan.used);
        const tensor x = arena_tensor(&a, F32, "x", 5, 7);
        assert_int_equal(a.used, plan.used);
        for (int i = 0; i < 35; i++) there[i] = (float)i / 3;
        device_put(d, x.data, there, sizeof there);
        device_get(d, back, x.data, sizeof back);
        assert_memory_equal(there, back, sizeof there);
        arena_release(&a);
        assert_null(a.base);
        assert_ptr_equal(a.device, d);
    }
    device_close(d);
}

int main(void)
{
    if (!device_here(&emulated)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stops),      cmocka_unit_test(test_fails_once),
                                       cmocka_unit_test(test_not_opened), cmocka_unit_test(test_open),
                                       cmocka_unit_test(test_memory),     cmocka_unit_test(test_arena)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
