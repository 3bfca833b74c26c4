/* Two ranks over their devices. Every rank knows what the other brings and computes the result itself: the
 * sum of two numbers has the same bits in either order. Inputs are queued for the device right before a call,
 * and results fetched right after the wait for it: a missing wait between the two streams gives old numbers.
 * A failed check stops all ranks (REQUIRE), because the other would wait forever. */
#include "base/comm.h"
#include "base/cuda/cuda.h"
#include "tests/support/device.h"
#include "tests/support/noise.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const reduction in_rank_order = {.sent = F32};

static const comm *host, *ranks;
static device *the_device;

/* None, one, what is no multiple of a vector, and more than a staging slot (floats). */
static const int64_t shards[] = {0, 1, 1003, (1 << 19) + 77};
enum { NUM_SHARDS = sizeof shards / sizeof *shards };

/* `count` floats and one more, all of them `value`, on the host. */
static float *floats(int64_t count, float value)
{
    float *x = malloc(sizeof *x * (size_t)(count + 1));
    REQUIRE(x, "memory");
    for (int64_t i = 0; i <= count; i++) x[i] = value;
    return x;
}

static float *on_device(const float *x, int64_t count)
{
    float *copy = device_reserve(the_device, (count + 1) * 4, "test");
    device_put(the_device, copy, x, (count + 1) * 4);
    return copy;
}

static void test_reduce_scatter(void **state)
{
    (void)state;
    for (int s = 0; s < NUM_SHARDS; s++)
        for (int in_place = 0; in_place < 2; in_place++) {
            const int64_t shard = shards[s], count = 2 * shard;
            float *x = floats(count, -1), *full = on_device(x, count), *elsewhere = on_device(x, shard);
            float *out = in_place ? full + ranks->rank * shard : elsewhere;
            for (int64_t i = 0; i < count; i++) x[i] = noise(ranks->rank, i);
            device_put(the_device, full, x, count * 4);
            comm_wait(ranks, comm_reduce_scatter(ranks, out, full, shard, &in_rank_order));
            device_get(the_device, x, out, shard * 4);
            for (int64_t i = 0; i < shard; i++) {
                const int64_t at = ranks->rank * shard + i;
                const float want = noise(0, at) + noise(1, at);
                REQUIRE(x[i] == want, "element %lld of %lld is %.9g, expected %.9g", (long long)i,
                        (long long)shard, (double)x[i], (double)want);
            }
            float guard[2];
            device_get(the_device, guard, full + count, 4);
            device_get(the_device, guard + 1, elsewhere + shard, 4);
            REQUIRE(guard[0] == -1 && guard[1] == -1, "wrote beyond the end");
            device_release(the_device, full);
            device_release(the_device, elsewhere);
            free(x);
        }
}

/* Bytes: no multiple of four, as half types have them. */
static void test_all_gather(void **state)
{
    (void)state;
    for (int s = 0; s < NUM_SHARDS; s++)
        for (int in_place = 0; in_place < 2; in_place++) {
            const int64_t bytes = shards[s] * 2 + (shards[s] & 1), count = 2 * bytes;
            float *x = floats(count / 4 + 1, -1), *all = on_device(x, count / 4 + 1);
            float *elsewhere = on_device(x, count / 4 + 1);
            unsigned char *b = (unsigned char *)x;
            void *part = in_place ? (char *)all + ranks->rank * bytes : (char *)elsewhere;
            for (int64_t i = 0; i < bytes; i++) b[i] = (unsigned char)(ranks->rank * 101 + i * 7 + i / 251);
            device_put(the_device, part, b, bytes);
            comm_wait(ranks, comm_all_gather(ranks, all, part, bytes));
            device_get(the_device, b, all, count + 1);
            for (int64_t i = 0; i < count; i++) {
                const int64_t r = i / bytes, at = i % bytes;
                REQUIRE(b[i] == (unsigned char)(r * 101 + at * 7 + at / 251), "byte %lld of %lld",
                        (long long)i, (long long)count);
            }
            const float guard = -1;
            REQUIRE(b[count] == ((const unsigned char *)&guard)[count % 4], "wrote beyond the end");
            device_release(the_device, all);
            device_release(the_device, elsewhere);
            free(x);
        }
}

static void test_sum(void **state)
{
    (void)state;
    enum { N = 1000 };
    double x[N + 1], *there = device_reserve(the_device, sizeof x, "test");
    for (int64_t count = 0; count <= N; count = count * 10 + (count == 0)) {
        for (int64_t i = 0; i <= N; i++) x[i] = (double)noise(ranks->rank, i) / 3;
        device_put(the_device, there, x, sizeof x);
        comm_sum_f64(ranks, there, count);
        comm_wait(ranks, comm_sum_f64(ranks, there, count)); /* queued behind the other */
        device_get(the_device, x, there, sizeof x);
        for (int64_t i = 0; i <= N; i++) {
            const double mine = (double)noise(ranks->rank, i) / 3,
                         both = (double)noise(0, i) / 3 + (double)noise(1, i) / 3;
            REQUIRE(x[i] == (i < count ? both + both : mine), "element %lld of %lld is %.17g", (long long)i,
                    (long long)count, x[i]);
        }
    }
    device_release(the_device, there);
}

/* What training does: sums travel while the next are computed, and the last is waited for. */
static void test_overlap(void **state)
{
    (void)state;
    enum { UNITS = 5, SHARD = 3000 };
    float *x = floats(2 * SHARD, 0), *unit[UNITS];
    comm_ticket last = {0};
    for (int u = 0; u < UNITS; u++) unit[u] = on_device(x, 2 * SHARD);
    for (int u = 0; u < UNITS; u++) {
        for (int i = 0; i < 2 * SHARD; i++) x[i] = noise(ranks->rank, i + u);
        device_put(the_device, unit[u], x, 2 * SHARD * 4);
        last = comm_reduce_scatter(ranks, unit[u] + ranks->rank * SHARD, unit[u], SHARD, &in_rank_order);
    }
    comm_wait(ranks, last);
    for (int u = 0; u < UNITS; u++)
        last = comm_all_gather(ranks, unit[u], unit[u] + ranks->rank * SHARD, SHARD * 4);
    comm_wait(ranks, last);
    for (int u = 0; u < UNITS; u++) {
        device_get(the_device, x, unit[u], 2 * SHARD * 4);
        for (int i = 0; i < 2 * SHARD; i++)
            REQUIRE(x[i] == noise(0, i + u) + noise(1, i + u), "element %d of unit %d", i, u);
        device_release(the_device, unit[u]);
    }
    free(x);
}

/* More calls than there are events, waited for in either order. */
static void test_tickets(void **state)
{
    (void)state;
    enum { CALLS = 150, SHARD = 40, MOST = 2 * SHARD };
    for (int last_first = 0; last_first < 2; last_first++) {
        float *x = floats(CALLS * MOST, 0), *there = on_device(x, CALLS * MOST), got[MOST];
        comm_ticket ticket[CALLS];
        for (int n = 0; n < CALLS; n++) {
            float *const all = there + n * MOST, *const own = all + ranks->rank * SHARD;
            for (int i = 0; i < SHARD; i++) x[i] = noise(ranks->rank, n * SHARD + i);
            device_put(the_device, own, x, SHARD * 4);
            ticket[n] = comm_all_gather(ranks, all, own, SHARD * 4);
        }
        for (int k = 0; k < CALLS; k++) {
            const int n = last_first ? CALLS - 1 - k : k;
            comm_wait(ranks, ticket[n]);
            device_get(the_device, got, there + n * MOST, sizeof got);
            for (int i = 0; i < MOST; i++)
                REQUIRE(got[i] == noise(i / SHARD, n * SHARD + i % SHARD), "element %d of call %d", i, n);
        }
        device_release(the_device, there);
        free(x);
    }
}

/* A wait for one call ends although the next one cannot: rank 1 makes that one only after rank 0 has waited.
 */
static void test_one_alone(void **state)
{
    (void)state;
    const float x[2] = {noise(ranks->rank, 0), noise(ranks->rank, 1)};
    float got, *const first = on_device(x, 1), *const second = on_device(x, 1);
    float *const sums = on_device(x, 1);
    comm_ticket b = {0};
    const comm_ticket a = comm_reduce_scatter(ranks, sums, first, 1, &in_rank_order);
    if (ranks->rank == 0) b = comm_reduce_scatter(ranks, sums + 1, second, 1, &in_rank_order);
    comm_wait(ranks, a);
    device_get(the_device, &got, sums, 4);
    REQUIRE(got == noise(0, ranks->rank) + noise(1, ranks->rank), "the first sum is %.9g", (double)got);
    int64_t both = 0;
    comm_max_i64(host, &both, 1); /* returns when rank 0 has come this far */
    if (ranks->rank == 1) b = comm_reduce_scatter(ranks, sums + 1, second, 1, &in_rank_order);
    comm_wait(ranks, b);
    device_get(the_device, &got, sums + 1, 4);
    REQUIRE(got == noise(0, ranks->rank) + noise(1, ranks->rank), "the second sum is %.9g", (double)got);
    device_release(the_device, first);
    device_release(the_device, second);
    device_release(the_device, sums);
}

/* A communicator can follow another. */
static void test_again(void **state)
{
    comm_stop(ranks);
    ranks = comm_nccl_start(the_device, host);
    REQUIRE(ranks->rank == host->rank && ranks->size == 2 && ranks->device == the_device, "another one");
    test_sum(state);
}

/* NCCL refuses that. One GPU in CUDA_VISIBLE_DEVICES is what every rank takes for its own. */
static bool same_device(void)
{
    char place[2][sizeof the_device->pci];
    comm_all_gather(host, place, the_device->pci, sizeof *place);
    return strcmp(place[0], place[1]) == 0;
}

int main(void)
{
    setenv("FAKECUDA_DEVICES", "2", 0);      /* the emulator has one for each rank */
    setenv("REMLA_DEVICE_SECONDS", "60", 0); /* a wait for too much ends soon enough */
    host = comm_start();
    message why;
    if (host->size != 2) return 77;
    if (comm_agree(host, device_open(&the_device, host->local_rank, &why), &why) != OK) {
        if (host->rank == 0) fprintf(stderr, "skipped: %s\n", why.text);
        comm_stop(host);
        return 77;
    }
    if (same_device()) {
        if (host->rank == 0) fprintf(stderr, "skipped: both ranks have %s\n", device_text(the_device));
        device_close(the_device);
        comm_stop(host);
        return 77;
    }
    ranks = comm_nccl_start(the_device, host);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reduce_scatter),
                                       cmocka_unit_test(test_all_gather),
                                       cmocka_unit_test(test_sum),
                                       cmocka_unit_test(test_overlap),
                                       cmocka_unit_test(test_tickets),
                                       cmocka_unit_test(test_one_alone),
                                       cmocka_unit_test(test_again)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(ranks);
    device_close(the_device);
    comm_stop(host);
    return failed;
}
