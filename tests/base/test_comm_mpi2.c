/* The communicator on however many ranks it is started with. Every rank knows what the others bring and
 * computes the result itself; sums must have the very bits of adding in the order asked for. A failed check
 * stops all ranks (REQUIRE), because the others would wait forever. */
#include "base/comm.h"
#include "base/status.h"
#include "tests/support/noise.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const comm *world;

/* None, one, fewer than there are in a message, exactly one message and one more, several and a bit
 * (floats). */
static const int64_t shards[] = {0, 1, 1000, 1 << 16, (1 << 16) + 1, 7 * (1 << 16) + 1237};
enum { NUM_SHARDS = sizeof shards / sizeof *shards };

static float *floats(int64_t count)
{
    float *x = malloc(sizeof(float) * (size_t)(count + 1));
    REQUIRE(x, "memory");
    memset(x, 0xff, sizeof(float) * (size_t)(count + 1));
    return x;
}

static void test_ranks(void **state)
{
    (void)state;
    int64_t seen[64] = {0};
    REQUIRE(world->size <= 64 && world->rank >= 0 && world->rank < world->size, "rank %d", world->rank);
    REQUIRE(world->local_size == world->size && world->local_rank == world->rank,
            "all ranks are on one host");
    seen[world->rank] = world->rank + 1;
    comm_max_i64(world, seen, 64);
    for (int r = 0; r < world->size; r++) REQUIRE(seen[r] == r + 1, "rank %d is missing", r);
}

static void test_max(void **state)
{
    (void)state;
    int64_t x[] = {world->rank, -world->rank, world->rank == 1 ? INT64_MAX : INT64_MIN, INT64_MIN};
    comm_max_i64(world, x, 4);
    REQUIRE(x[0] == world->size - 1 && x[1] == 0 && x[2] == INT64_MAX && x[3] == INT64_MIN, "%lld %lld",
            (long long)x[0], (long long)x[1]);
}

/* Calls without a ticket do not wait for the queue: rank 0's gather ends only when the others have begun
 * theirs, and they do so behind both calls. */
static void test_beside_the_queue(void **state)
{
    (void)state;
    enum { PART = 1 << 16 };
    static char all[64 * PART], part[PART];
    comm_ticket gathered = {0};
    memset(part, world->rank + 1, PART);
    comm_limit(world, 20);
    if (world->rank == 0) gathered = comm_all_gather(world, all, part, PART);
    int64_t most = world->rank;
    comm_max_i64(world, &most, 1);
    comm_broadcast(world, &most, sizeof most, world->size - 1);
    REQUIRE(most == world->size - 1, "the largest rank is %lld", (long long)most);
    if (world->rank != 0) gathered = comm_all_gather(world, all, part, PART);
    comm_wait(world, gathered);
    comm_limit(world, 0);
    for (int64_t i = 0; i < world->size * PART; i++)
        REQUIRE(all[i] == i / PART + 1, "byte %lld is %d", (long long)i, all[i]);
}

/* Rank 0 comes late, to a call beside the queue and to one in it: the others have waited. */
static void test_waiting(void **state)
{
    (void)state;
    enum { LATE = 500000 /* microseconds */ };
    int64_t most = 0;
    double sum = 1;
    REQUIRE(comm_host(world, world->size - 1)[0], "the last rank's host has no name");
    comm_max_i64(world, &most, 1); /* all begin together */
    for (int queued = 0; queued < 2; queued++) {
        const double before = comm_seconds_waited(world);
        if (world->rank == 0) usleep(LATE);
        if (queued)
            comm_wait(world, comm_sum_f64(world, &sum, 1));
        else
            comm_max_i64(world, &most, 1);
        const double waited = comm_seconds_waited(world) - before;
        REQUIRE(world->rank == 0 || waited > 0.8e-6 * LATE, "waited %g s of %g", waited, 1e-6 * LATE);
    }
}

static void test_broadcast(void **state)
{
    (void)state;
    for (int root = 0; root < world->size; root++)
        for (int s = 0; s < NUM_SHARDS; s++) {
            float *x = floats(shards[s]);
            for (int64_t i = 0; i < shards[s]; i++) x[i] = noise(world->rank, i);
            comm_broadcast(world, x, shards[s] * 4, root);
            for (int64_t i = 0; i < shards[s]; i++)
                REQUIRE(x[i] == noise(root, i), "element %lld of rank %d's", (long long)i, root);
            free(x);
        }
}

static void test_sum(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 7, (1 << 16) + 3, 200001};
    for (int s = 0; s < 5; s++) {
        double *x = malloc(sizeof(double) * (size_t)(counts[s] + 1));
        REQUIRE(x, "memory");
        for (int64_t i = 0; i <= counts[s]; i++) x[i] = (double)noise(world->rank, i) * 0.1;
        comm_wait(world, comm_sum_f64(world, x, counts[s]));
        for (int64_t i = 0; i < counts[s]; i++) {
            double want = (double)noise(0, i) * 0.1;
            for (int r = 1; r < world->size; r++) want += (double)noise(r, i) * 0.1;
            REQUIRE(x[i] == want, "element %lld of %lld is %.17g, expected %.17g", (long long)i,
                    (long long)counts[s], x[i], want);
        }
        REQUIRE(x[counts[s]] == (double)noise(world->rank, counts[s]) * 0.1, "wrote beyond the end");
        free(x);
    }
}

static const reduction ways[] = {{F32, false}, {F32, true}, {BF16, false}, {BF16, true}};
enum { NUM_WAYS = sizeof ways / sizeof *ways };

/* What rank r brings of element `at`, as it is added: to 8 bits, by arithmetic. */
static float brought(int r, int64_t at, const reduction *how)
{
    int exponent;
    const float x = noise(r, at), part = frexpf(x, &exponent);
    return how->sent == F32 ? x : ldexpf(rintf(part * 256), exponent - 8);
}

/* The sum of ranks from..from+count-1. The tree's left part is the largest power of 2 that leaves a right
 * one. */
static float sum_of(int from, int count, int64_t at, const reduction *how)
{
    if (count == 1) return brought(from, at, how);
    int left = count - 1;
    if (how->pairwise)
        for (left = 1; left * 2 < count;) left *= 2;
    const float first = sum_of(from, left, at, how);
    return first + sum_of(from + left, count - left, at, how);
}

static void check_sums(const float *out, int64_t shard, const reduction *how)
{
    for (int64_t i = 0; i < shard; i++) {
        const float want = sum_of(0, world->size, world->rank * shard + i, how);
        REQUIRE(out[i] == want, "element %lld of %lld is %.9g, expected %.9g", (long long)i, (long long)shard,
                (double)out[i], (double)want);
    }
}

static void reduce_scatter(int64_t shard, bool in_place, const reduction *how)
{
    const int64_t count = world->size * shard, before = comm_bytes_sent(world);
    float *full = floats(count), *elsewhere = floats(shard);
    for (int64_t i = 0; i < count; i++) full[i] = noise(world->rank, i);
    float *out = in_place ? full + world->rank * shard : elsewhere;
    comm_wait(world, comm_reduce_scatter(world, out, full, shard, how));
    check_sums(out, shard, how);
    REQUIRE(elsewhere[shard] != elsewhere[shard] && full[count] != full[count], "wrote beyond the end");
    const int64_t sent = comm_bytes_sent(world) - before,
                  want = (world->size - 1) * shard * (how->sent == F32 ? 4 : 2);
    REQUIRE(sent == want, "sent %lld bytes, expected %lld", (long long)sent, (long long)want);
    free(full);
    free(elsewhere);
}

static void test_reduce_scatter(void **state)
{
    (void)state;
    for (int s = 0; s < NUM_SHARDS; s++)
        for (int way = 0; way < NUM_WAYS; way++)
            for (int in_place = 0; in_place < 2; in_place++) reduce_scatter(shards[s], in_place, &ways[way]);
}

/* The orders differ, or the tests above would not tell one from another. */
static void test_orders_differ(void **state)
{
    (void)state;
    int differ = 0;
    for (int64_t i = 0; i < 1000; i++)
        differ += sum_of(0, world->size, i, &ways[0]) != sum_of(0, world->size, i, &ways[1]);
    REQUIRE((differ > 0) == (world->size > 3), "%d of 1000 sums differ", differ);
}

static void test_all_gather(void **state)
{
    (void)state;
    for (int s = 0; s < NUM_SHARDS; s++)
        for (int in_place = 0; in_place < 2; in_place++) {
            const int64_t shard = shards[s], count = world->size * shard, before = comm_bytes_sent(world);
            float *full = floats(count), *elsewhere = floats(shard);
            float *part = in_place ? full + world->rank * shard : elsewhere;
            for (int64_t i = 0; i < shard; i++) part[i] = noise(world->rank, i);
            comm_wait(world, comm_all_gather(world, full, part, shard * (int64_t)sizeof(float)));
            for (int64_t i = 0; i < count; i++)
                REQUIRE(full[i] == noise((int)(i / shard), i % shard), "element %lld of %lld", (long long)i,
                        (long long)count);
            REQUIRE(full[count] != full[count], "wrote beyond the end");
            REQUIRE(comm_bytes_sent(world) - before == (world->size - 1) * shard * 4, "sent %lld bytes",
                    (long long)(comm_bytes_sent(world) - before));
            free(full);
            free(elsewhere);
        }
}

/* Calls in flight are waited for in either order, with calls of the other kind among them. */
static void test_tickets(void **state)
{
    (void)state;
    enum { SHARD = 70001 }; /* more than one message */
    const int64_t count = world->size * (int64_t)SHARD;
    for (int last_first = 0; last_first < 2; last_first++) {
        float *full = floats(count), *sums = floats(SHARD), *part = floats(SHARD), *all = floats(count);
        double values = world->rank + 1;
        int64_t most = world->rank;
        for (int64_t i = 0; i < count; i++) full[i] = noise(world->rank, i);
        for (int64_t i = 0; i < SHARD; i++) part[i] = noise(world->rank, i);
        const comm_ticket a = comm_reduce_scatter(world, sums, full, SHARD, &ways[1]),
                          b = comm_all_gather(world, all, part, SHARD * (int64_t)sizeof(float));
        comm_max_i64(world, &most, 1);
        const comm_ticket last = comm_sum_f64(world, &values, 1);
        comm_wait(world, last_first ? b : a);
        comm_wait(world, last_first ? a : b);
        comm_wait(world, last);
        comm_wait(world, a); /* once more */
        check_sums(sums, SHARD, &ways[1]);
        for (int64_t i = 0; i < count; i++)
            REQUIRE(all[i] == noise((int)(i / SHARD), i % SHARD), "element %lld", (long long)i);
        REQUIRE(most == world->size - 1, "%lld", (long long)most);
        REQUIRE(values == world->size * (world->size + 1) / 2., "%g", values);
        free(full);
        free(sums);
        free(part);
        free(all);
    }
}

/* More calls than wait at a time; each works on the result of the one before it. */
static void test_many(void **state)
{
    (void)state;
    enum { CALLS = 500 };
    double value = 1, want = 1;
    comm_ticket last = {0};
    for (int i = 0; i < CALLS; i++) {
        const double one = want;
        last = comm_sum_f64(world, &value, 1);
        for (int r = 1; r < world->size; r++) want += one;
    }
    comm_wait(world, last);
    REQUIRE(value == want, "%g, expected %g", value, want);
}

/* Every rank has `mine[rank]` (the last one's for ranks beyond 2) and a sentence of its own. */
static void check_agreed(const status *mine, status worst, int speaker)
{
    message why;
    char want[64];
    snprintf(why.text, sizeof why.text, "rank %d failed", world->rank);
    snprintf(want, sizeof want, "rank %d failed", worst == OK ? world->rank : speaker);
    const status s = comm_agree(world, mine[world->rank < 2 ? world->rank : 1], &why);
    REQUIRE(s == worst, "status %d, expected %d", s, worst);
    REQUIRE(!strcmp(why.text, want), "sentence '%s', expected '%s'", why.text, want);
}

static void test_agree(void **state)
{
    (void)state;
    check_agreed((status[]){OK, OK}, OK, 0);
    check_agreed((status[]){OK, ERR_INPUT}, ERR_INPUT, 1);
    check_agreed((status[]){ERR_INPUT, OK}, ERR_INPUT, 0);
    check_agreed((status[]){ERR_USAGE, ERR_USAGE}, ERR_USAGE, 0);
    check_agreed((status[]){ERR_USAGE, ERR_INPUT}, ERR_INPUT, 1);
    check_agreed((status[]){STOPPED, ERR_INPUT}, STOPPED, 0);
}

static status all_or(status mine, message *why)
{
    TRY_ALL(world, mine, why);
    return STOPPED;
}

static status root_or(status of_root, bool *called, message *why)
{
    *called = false;
    TRY_ROOT(world, (*called = true, of_root), why);
    return STOPPED;
}

/* A failure of one rank ends the function on all. TRY_ROOT calls on rank 0 alone. */
static void test_try(void **state)
{
    (void)state;
    message why = {""};
    bool called;
    REQUIRE(all_or(OK, &why) == STOPPED, "all went well, and it returned");
    REQUIRE(all_or(world->rank == 1 ? ERR_INPUT : OK, &why) == ERR_INPUT, "rank 1 failed, and it went on");
    REQUIRE(root_or(OK, &called, &why) == STOPPED, "rank 0 did well, and it returned");
    REQUIRE(called == (world->rank == 0), "rank %d calls: %d", world->rank, called);
    REQUIRE(root_or(ERR_USAGE, &called, &why) == ERR_USAGE, "rank 0 failed, and it went on");
}

int main(void)
{
    world = comm_start();
    if (world->size < 2) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks),
                                       cmocka_unit_test(test_max),
                                       cmocka_unit_test(test_waiting),
                                       cmocka_unit_test(test_broadcast),
                                       cmocka_unit_test(test_beside_the_queue),
                                       cmocka_unit_test(test_sum),
                                       cmocka_unit_test(test_reduce_scatter),
                                       cmocka_unit_test(test_orders_differ),
                                       cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_all_gather),
                                       cmocka_unit_test(test_tickets),
                                       cmocka_unit_test(test_agree),
                                       cmocka_unit_test(test_try)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}
