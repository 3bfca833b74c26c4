/* A communicator over one device: every function is the identity, in the order of the device's work; the
 * library is not needed. */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include "base/comm.h"
#include "base/cuda/cuda.h"
#include <string.h>

enum { N = 1000 };

static void two(void *context)
{
    (void)context;
    device *d = device_open_first();
    comm_nccl_start(d, comm_self());
    comm_nccl_start(d, comm_self());
}

static void test_refused(void **state)
{
    (void)state;
    check_stops(two, NULL, ERR_BUG, "the device has a communicator already");
}

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
        comm_reduce_scatter_f32(c, b, a, N);
        comm_fence(c);
        CUDA_OK(cudaMemsetAsync(a, 0, sizeof host, d->compute.cuda));
        comm_all_gather(c, a, b, sizeof host - 3); /* any number of bytes */
        comm_all_gather(c, a, a, sizeof host);     /* in place */
        comm_reduce_scatter_f32(c, b, b, N);
        comm_reduce_scatter_f32(c, b, a, 0);
        comm_all_gather(c, b, a, 0);
        comm_fence(c);
        device_get(d, back, b, sizeof back);
        assert_memory_equal(back, host, sizeof host);
        device_get(d, back, a, sizeof back);
        assert_memory_equal(back, host, sizeof host - 3);
        assert_memory_equal((char *)back + sizeof back - 3, "\0\0\0", 3);
        comm_sum_f64(c, (double *)(void *)a, N / 2);
        comm_fence(c);
        device_get(d, back, a, sizeof back);
        assert_memory_equal(back, host, sizeof host - 3);
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
    if (!device_here(NULL)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_identity)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
