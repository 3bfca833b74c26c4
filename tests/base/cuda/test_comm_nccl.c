/* A communicator over one device: every function is the identity, in the order of the device's work; the
 * library is not needed. What forks comes first: who has spoken to a GPU cannot. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "base/bf16.h"
#include "base/comm.h"
#include "base/cuda/cuda.h"
#include <string.h>

static const reduction in_rank_order = {.sent = F32};

enum { N = 1000 };
static bool emulated;

static void two(void *context)
{
    (void)context;
    device *d = device_open_first();
    comm_nccl_start(d, comm_self());
    comm_nccl_start(d, comm_self());
}

static void from_elsewhere(void *context)
{
    (void)context;
    comm_wait(comm_nccl_start(device_open_first(), comm_self()), (comm_ticket){1});
}

static void test_refused(void **state)
{
    (void)state;
    check_stops(two, NULL, ERR_BUG, "the device has a communicator already");
    check_stops(from_elsewhere, NULL, ERR_BUG, "a wait for call 1 of 0");
}

/* ---- what a missing wait does -------------------------------------------------------------------------- */

/* Two calls in flight. Looks at the result of call `look` after a wait for call `wait` (-1: for none), then
 * at the other one's after a wait for that. Whether it saw something else than the results. */
static bool saw_wrong(int look, int wait)
{
    device *const d = device_open_first();
    const comm *const c = comm_nccl_start(d, comm_self());
    const float want[2] = {1, 2};
    float got[2], *const x = device_reserve(d, sizeof want, "x"),
                         *const y = device_reserve(d, sizeof want, "y");
    device_put(d, x, want, sizeof want);
    comm_ticket call[2];
    call[0] = comm_all_gather(c, y, x, sizeof *x);
    call[1] = comm_reduce_scatter(c, y + 1, x + 1, 1, &in_rank_order);
    if (wait >= 0) comm_wait(c, call[wait]);
    device_get(d, got + look, y + look, sizeof *y);
    comm_wait(c, call[1 - look]);
    device_get(d, got + 1 - look, y + 1 - look, sizeof *y);
    return got[0] != want[0] || got[1] != want[1];
}

static bool sees_wrong(const void *look_wait)
{
    const int *const of = look_wait;
    return saw_wrong(of[0], of[1]);
}

enum { ORDERS = 16 };
static int times_wrong(int look, int wait)
{
    return device_orders_wrong(ORDERS, sees_wrong, (const int[]){look, wait});
}

static void test_waits(void **state)
{
    (void)state;
    if (!emulated) skip();
    assert_int_equal(times_wrong(0, 0), 0);
    assert_int_equal(times_wrong(1, 1), 0);
    assert_int_equal(times_wrong(0, 1), 0); /* calls end in their order */
    assert_in_range(times_wrong(0, -1), 2, ORDERS);
    assert_in_range(times_wrong(1, -1), 2, ORDERS);
    assert_in_range(times_wrong(1, 0), 2, ORDERS);
}

/* ---- what calls bring ---------------------------------------------------------------------------------- */

static void test_identity(void **state)
{
    (void)state;
    device *d = device_open_first();
    float host[N], back[N];
    float *a = device_reserve(d, sizeof host, "a"), *b = device_reserve(d, sizeof host, "b");
    for (int times = 0; times < 2; times++) {
        const comm *c = comm_nccl_start(d, comm_self());
        assert_true(c->size == 1 && c->rank == 0 && c->device == d);
        for (int i = 0; i < N; i++) host[i] = (float)(i + times);
        device_put(d, a, host, sizeof host);
        comm_wait(c, comm_reduce_scatter(c, b, a, N, &in_rank_order));
        CUDA_OK(cudaMemsetAsync(a, 0, sizeof host, d->compute.cuda));
        comm_all_gather(c, a, b, sizeof host - 3); /* any number of bytes */
        comm_all_gather(c, a, a, sizeof host);     /* in place */
        comm_reduce_scatter(c, b, b, N, &in_rank_order);
        comm_reduce_scatter(c, b, a, 0, &in_rank_order);
        comm_wait(c, comm_all_gather(c, b, a, 0));
        device_get(d, back, b, sizeof back);
        assert_memory_equal(back, host, sizeof host);
        device_get(d, back, a, sizeof back);
        assert_memory_equal(back, host, sizeof host - 3);
        assert_memory_equal((char *)back + sizeof back - 3, "\0\0\0", 3);
        comm_wait(c, comm_sum_f64(c, (double *)(void *)a, N / 2));
        device_get(d, back, a, sizeof back);
        assert_memory_equal(back, host, sizeof host - 3);
        for (int i = 0; i < N; i++) host[i] = 1 + (float)i / 3000; /* no bf16s */
        device_put(d, a, host, sizeof host);
        comm_wait(c, comm_reduce_scatter(c, times ? a : b, a, N, &(const reduction){BF16, times}));
        device_get(d, back, times ? a : b, sizeof back);
        for (int i = 0; i < N; i++) assert_true(back[i] == bf16_float(bf16_of(host[i])));
        assert_int_equal(comm_bytes_sent(c), 0);
        message why = {"why"};
        assert_int_equal(comm_agree(c, ERR_INPUT, &why), ERR_INPUT);
        comm_stop(c);
    }
    device_release(d, a);
    device_release(d, b);
    device_close(d);
}

int main(void)
{
    if (!device_here(&emulated)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_waits),
                                       cmocka_unit_test(test_identity)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
