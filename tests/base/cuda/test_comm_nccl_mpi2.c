/* Ranks over their devices, however many it is started with. Every rank knows what the others bring and
 * computes the result itself. Where NCCL picks the order of a sum, numbers are whole and small: every order
 * gives the same bits. Inputs are queued for the device right before a call, and results fetched right after
 * the wait for it: a missing wait between the two streams gives old numbers. A failed check stops all ranks
 * (REQUIRE), because the others would wait forever. */
#include "base/comm.h"
#include "base/comm_sums.h"
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

static float whole(int r, int64_t i) { return (float)((int64_t)noise(r, i) % 1000); }
static float sum_of_all(int64_t i)
{
    float sum = 0;
    for (int r = 0; r < ranks->size; r++) sum += whole(r, i);
    return sum;
}

/* What a reduce_scatter must bring: whole numbers where NCCL adds them, else the host's very bits. */
static bool by_nccl(const reduction *how) { return how->sent == F32 && !how->pairwise; }
static float *expected(int64_t shard, const reduction *how)
{
    const int64_t size = dtype_bytes(how->sent);
    float *const sum = floats(shard, 0), *const x = floats(shard, 0);
    char *const sent = malloc((size_t)(ranks->size * shard * size + 1));
    const void *part[64];
    REQUIRE(sent && ranks->size <= 64, "memory");
    for (int r = 0; r < ranks->size; r++) {
        for (int64_t i = 0; i < shard; i++) x[i] = (by_nccl(how) ? whole : noise)(r, ranks->rank * shard + i);
        part[r] = sent + r * shard * size;
        if (how->sent == BF16)
            comm_sums_round((uint16_t *)(void *)(sent + r * shard * size), x, shard);
        else
            memcpy(sent + r * shard * size, x, (size_t)(shard * size));
    }
    comm_sums_f32(sum, part, ranks->size, shard, how);
    free(sent);
    free(x);
    return sum;
}

static void check_reduce_scatter(int64_t shard, bool in_place, const reduction *how)
{
    const int64_t count = ranks->size * shard, before = comm_bytes_sent(ranks);
    float *x = floats(count, -1), *full = on_device(x, count), *elsewhere = on_device(x, shard);
    float *const out = in_place ? full + ranks->rank * shard : elsewhere, *const want = expected(shard, how);
    for (int64_t i = 0; i < count; i++) x[i] = (by_nccl(how) ? whole : noise)(ranks->rank, i);
    device_put(the_device, full, x, count * 4);
    comm_wait(ranks, comm_reduce_scatter(ranks, out, full, shard, how));
    device_get(the_device, x, out, shard * 4);
    for (int64_t i = 0; i < shard; i++)
        REQUIRE(x[i] == want[i], "element %lld of %lld is %.9g, expected %.9g (%s, %s)", (long long)i,
                (long long)shard, (double)x[i], (double)want[i], dtype_name(how->sent),
                how->pairwise ? "pairwise" : "in order");
    float guard[2];
    device_get(the_device, guard, full + count, 4);
    device_get(the_device, guard + 1, elsewhere + shard, 4);
    REQUIRE(guard[0] == -1 && guard[1] == -1, "wrote beyond the end");
    const int64_t sent = comm_bytes_sent(ranks) - before;
    REQUIRE(sent == (ranks->size - 1) * shard * dtype_bytes(how->sent), "%lld bytes sent", (long long)sent);
    device_release(the_device, full);
    device_release(the_device, elsewhere);
    free(x);
    free(want);
}

static void test_reduce_scatter(void **state)
{
    (void)state;
    for (int ways = 0; ways < 8; ways++)
        for (int s = 0; s < (ways ? NUM_SHARDS - 1 : NUM_SHARDS); s++)
            check_reduce_scatter(
                shards[s], ways & 1,
                &(const reduction){.sent = ways & 2 ? BF16 : F32, .pairwise = (ways & 4) != 0});
    /* More than one chunk of the exchange. */
    check_reduce_scatter((32 << 20) / 4 / (ranks->size - 1) + 77, true, &(const reduction){F32, true});
}

/* Bytes: no multiple of four, as half types have them. */
static void test_all_gather(void **state)
{
    (void)state;
    for (int s = 0; s < NUM_SHARDS; s++)
        for (int in_place = 0; in_place < 2; in_place++) {
            const int64_t bytes = shards[s] * 2 + (shards[s] & 1), count = ranks->size * bytes;
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
        for (int64_t i = 0; i <= N; i++) x[i] = (double)whole(ranks->rank, i) / 4;
        device_put(the_device, there, x, sizeof x);
        comm_sum_f64(ranks, there, count);
        comm_wait(ranks, comm_sum_f64(ranks, there, count)); /* queued behind the other */
        device_get(the_device, x, there, sizeof x);
        for (int64_t i = 0; i <= N; i++) {
            const double mine = (double)whole(ranks->rank, i) / 4, all = (double)sum_of_all(i) / 4;
            REQUIRE(x[i] == (i < count ? ranks->size * all : mine), "element %lld of %lld is %.17g",
                    (long long)i, (long long)count, x[i]);
        }
    }
    device_release(the_device, there);
}

/* What training does: sums travel while the next are computed, and the last is waited for. */
static void test_overlap(void **state)
{
    (void)state;
    enum { UNITS = 5, SHARD = 3000 };
    const int64_t count = ranks->size * SHARD;
    float *x = floats(count, 0), *unit[UNITS];
    comm_ticket last = {0};
    for (int u = 0; u < UNITS; u++) unit[u] = on_device(x, count);
    for (int u = 0; u < UNITS; u++) {
        for (int i = 0; i < count; i++) x[i] = whole(ranks->rank, i + u);
        device_put(the_device, unit[u], x, count * 4);
        last = comm_reduce_scatter(ranks, unit[u] + ranks->rank * SHARD, unit[u], SHARD, &in_rank_order);
    }
    comm_wait(ranks, last);
    for (int u = 0; u < UNITS; u++)
        last = comm_all_gather(ranks, unit[u], unit[u] + ranks->rank * SHARD, SHARD * 4);
    comm_wait(ranks, last);
    for (int u = 0; u < UNITS; u++) {
        device_get(the_device, x, unit[u], count * 4);
        for (int i = 0; i < count; i++) REQUIRE(x[i] == sum_of_all(i + u), "element %d of unit %d", i, u);
        device_release(the_device, unit[u]);
    }
    free(x);
}

/* More calls than there are events, waited for in either order. */
static void test_tickets(void **state)
{
    (void)state;
    enum { CALLS = 150, SHARD = 40 };
    const int64_t count = ranks->size * SHARD;
    for (int last_first = 0; last_first < 2; last_first++) {
        float *x = floats(CALLS * count, 0), *there = on_device(x, CALLS * count), *got = floats(count, 0);
        comm_ticket ticket[CALLS];
        for (int n = 0; n < CALLS; n++) {
            float *const all = there + n * count, *const own = all + ranks->rank * SHARD;
            for (int i = 0; i < SHARD; i++) x[i] = noise(ranks->rank, n * SHARD + i);
            device_put(the_device, own, x, SHARD * 4);
            ticket[n] = comm_all_gather(ranks, all, own, SHARD * 4);
        }
        for (int k = 0; k < CALLS; k++) {
            const int n = last_first ? CALLS - 1 - k : k;
            comm_wait(ranks, ticket[n]);
            device_get(the_device, got, there + n * count, count * 4);
            for (int i = 0; i < count; i++)
                REQUIRE(got[i] == noise(i / SHARD, n * SHARD + i % SHARD), "element %d of call %d", i, n);
        }
        device_release(the_device, there);
        free(got);
        free(x);
    }
}

/* A wait for one call ends although the next one cannot: the others make that one only after rank 0 has
 * waited. */
static void test_one_alone(void **state)
{
    (void)state;
    float *const x = floats(ranks->size, 0);
    for (int i = 0; i < ranks->size; i++) x[i] = whole(ranks->rank, i);
    float got, *const first = on_device(x, ranks->size), *const second = on_device(x, ranks->size);
    float *const sums = on_device(x, 1);
    comm_ticket b = {0};
    const comm_ticket a = comm_reduce_scatter(ranks, sums, first, 1, &in_rank_order);
    if (ranks->rank == 0) b = comm_reduce_scatter(ranks, sums + 1, second, 1, &in_rank_order);
    comm_wait(ranks, a);
    device_get(the_device, &got, sums, 4);
    REQUIRE(got == sum_of_all(ranks->rank), "the first sum is %.9g", (double)got);
    int64_t both = 0;
    comm_max_i64(host, &both, 1); /* returns when rank 0 has come this far */
    if (ranks->rank > 0) b = comm_reduce_scatter(ranks, sums + 1, second, 1, &in_rank_order);
    comm_wait(ranks, b);
    device_get(the_device, &got, sums + 1, 4);
    REQUIRE(got == sum_of_all(ranks->rank), "the second sum is %.9g", (double)got);
    device_release(the_device, first);
    device_release(the_device, second);
    device_release(the_device, sums);
    free(x);
}

/* A communicator can follow another. */
static void test_again(void **state)
{
    comm_stop(ranks);
    ranks = comm_nccl_start(the_device, host);
    REQUIRE(ranks->rank == host->rank && ranks->size == host->size && ranks->device == the_device,
            "another one");
    test_sum(state);
}

/* NCCL refuses that. One GPU in CUDA_VISIBLE_DEVICES is what every rank takes for its own. */
static bool same_device(void)
{
    char place[64][sizeof the_device->pci];
    comm_wait(host, comm_all_gather(host, place, the_device->pci, sizeof *place));
    for (int r = 0; r < host->size; r++)
        if (r != host->rank && strcmp(place[r], the_device->pci) == 0) return true;
    return false;
}

int main(void)
{
    setenv("REMLA_DEVICE_SECONDS", "60", 0); /* a wait for too much ends soon enough */
    host = comm_start();
    message why;
    if (host->size < 2) return 77;
    if (comm_agree(host, device_open(&the_device, host->local_rank, &why), &why) != OK) {
        if (host->rank == 0) fprintf(stderr, "skipped: %s\n", why.text);
        comm_stop(host);
        return 77;
    }
    int64_t same = same_device();
    comm_max_i64(host, &same, 1);
    if (same) {
        if (host->rank == 0)
            fprintf(stderr, "skipped: two ranks have one device, %s\n", device_text(the_device));
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
