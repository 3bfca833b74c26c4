/* The communicator of N ranks against sums that each rank works out alone. Included by test_comm_mpi2.c and
 * test_comm_mpi4.c, which differ in the number of ranks that mpirun starts. Every rank runs every test; a
 * failure on one of them stops all, because the others would wait for it for ever. */
#ifndef REMLA_TESTS_COMM_RANKS_H
#define REMLA_TESTS_COMM_RANKS_H
#include "base/comm.h"
#include "tests/support/check.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const comm *c;

#define EXPECT(condition, ...)                                                                               \
    do {                                                                                                     \
        if (!(condition)) die(ERR_BUG, __VA_ARGS__);                                                         \
    } while (0)

/* What rank r brings as element i: of many magnitudes and both signs, so that another order of adding gives
 * other bits. */
static float element(int r, int64_t i)
{
    uint32_t z = (uint32_t)i * 2654435761u + (uint32_t)r * 40503u + 12345u;
    z ^= z >> 15;
    z *= 2246822519u;
    z ^= z >> 13;
    const float scale = (float)(1 << z % 13) * ((z >> 8) % 2 ? 1.0f : -1.0f);
    return scale * (1.0f + (float)(z >> 9) * 0x1p-23f);
}

static float rank_sum(int64_t i)
{
    float sum = element(0, i);
    for (int r = 1; r < c->size; r++) sum += element(r, i);
    return sum;
}

static float reversed_sum(int64_t i)
{
    float sum = element(c->size - 1, i);
    for (int r = c->size - 2; r >= 0; r--) sum += element(r, i);
    return sum;
}

static float *floats(int64_t n)
{
    float *p = malloc(sizeof *p * (size_t)(n > 0 ? n : 1));
    EXPECT(p, "no memory");
    return p;
}

static void test_ranks(void **state)
{
    (void)state;
    EXPECT(c->size == RANKS, "%d ranks, expected %d", c->size, RANKS);
    EXPECT(c->rank >= 0 && c->rank < c->size, "rank %d", c->rank);
    EXPECT(c->local_size == RANKS && c->local_rank == c->rank, "local %d of %d", c->local_rank, c->local_size);
    int64_t sum[RANKS] = {0};
    sum[c->rank] = 1;
    comm_max_i64(c, sum, RANKS);
    for (int r = 0; r < RANKS; r++) EXPECT(sum[r] == 1, "rank %d is missing", r);
    comm_barrier(c);
}

static void test_max(void **state)
{
    (void)state;
    int64_t values[3] = {-5 - c->rank, INT64_MAX - (c->size - 1 - c->rank), c->rank == 0 ? 7 : INT64_MIN};
    comm_max_i64(c, values, 3);
    EXPECT(values[0] == -5 && values[1] == INT64_MAX && values[2] == 7, "%lld %lld %lld", (long long)values[0],
           (long long)values[1], (long long)values[2]);
}

/* 2^53 + 1 is lost and 2^53 + 2 is not: the sum says in which order it was made. */
static void test_sum_order(void **state)
{
    (void)state;
    const double large = 0x1p53;
    const double brought[4] = {1, large, 1, -large};
    double want = brought[0];
    for (int r = 1; r < c->size; r++) want += brought[r % 4];
    double values[1000];
    for (int i = 0; i < 1000; i++) values[i] = brought[c->rank % 4];
    values[1] = c->rank;
    comm_sum_f64(c, values, 1000);
    for (int i = 0; i < 1000; i++) {
        const double expected = i == 1 ? c->size * (c->size - 1) / 2.0 : want;
        EXPECT(values[i] == expected, "element %d is %.17g, expected %.17g", i, values[i], expected);
    }
}

/* The shard sizes straddle the chunk in which the ranks exchange, 2^18 elements. */
static void scatter(int64_t shard, bool in_place)
{
    float *full = floats(shard * c->size), *own = full + c->rank * shard, *out = in_place ? own : floats(shard + 1);
    for (int64_t i = 0; i < shard * c->size; i++) full[i] = element(c->rank, i);
    if (!in_place) out[shard] = 1234;
    comm_reduce_scatter_f32(c, out, full, shard);
    int64_t different = 0;
    for (int64_t i = 0; i < shard; i++) {
        const int64_t at = c->rank * shard + i;
        const float want = rank_sum(at);
        EXPECT(memcmp(&out[i], &want, sizeof want) == 0, "shard of %lld, element %lld: %.9g, expected %.9g",
               (long long)shard, (long long)i, (double)out[i], (double)want);
        different += want != reversed_sum(at);
    }
    if (c->size > 2 && shard > 1000) EXPECT(different > shard / 100, "the inputs do not show the order of adding");
    if (!in_place) {
        EXPECT(out[shard] == 1234, "written behind the shard");
        free(out);
    }
    free(full);
}

static void test_reduce_scatter(void **state)
{
    (void)state;
    static const int64_t shards[] = {0, 1, 17, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 * (1 << 18) + 12347};
    for (int i = 0; i < 7; i++) {
        scatter(shards[i], false);
        scatter(shards[i], true);
    }
}

static void gather(int64_t shard, bool in_place)
{
    float *full = floats(shard * c->size), *part = in_place ? full + c->rank * shard : floats(shard);
    for (int64_t i = 0; i < shard * c->size; i++) full[i] = -1;
    for (int64_t i = 0; i < shard; i++) part[i] = element(c->rank, i);
    comm_all_gather_f32(c, full, part, shard);
    for (int r = 0; r < c->size; r++)
        for (int64_t i = 0; i < shard; i++)
            EXPECT(full[r * shard + i] == element(r, i), "shard of %lld: element %lld of rank %d is wrong",
                   (long long)shard, (long long)i, r);
    if (!in_place) free(part);
    free(full);
}

static void test_all_gather(void **state)
{
    (void)state;
    static const int64_t shards[] = {0, 1, 17, 100003};
    for (int i = 0; i < 4; i++) {
        gather(shards[i], false);
        gather(shards[i], true);
    }
}

static void test_broadcast(void **state)
{
    (void)state;
    char bytes[1001];
    for (int root = 0; root < c->size; root++) {
        memset(bytes, 'a' + c->rank, sizeof bytes);
        comm_broadcast(c, bytes, 1000, root);
        for (int i = 0; i < 1000; i++) EXPECT(bytes[i] == 'a' + root, "byte %d from %d is %d", i, root, bytes[i]);
        EXPECT(bytes[1000] == 'a' + c->rank, "written behind the bytes");
    }
    comm_broadcast(c, NULL, 0, 0);
}

/* Every rank brings mine[rank]; all must get `worst` with the sentence of rank `speaker`. */
static void agree(const status *mine, status worst, int speaker)
{
    char want[64];
    message why;
    snprintf(why.text, sizeof why.text, "rank %d says so", c->rank);
    snprintf(want, sizeof want, "rank %d says so", speaker);
    const status all = comm_agree(c, mine[c->rank], &why);
    EXPECT(all == worst, "agreed on %d, expected %d", (int)all, (int)worst);
    EXPECT(worst == OK || strcmp(why.text, want) == 0, "\"%s\", expected \"%s\"", why.text, want);
}

static void test_agree(void **state)
{
    (void)state;
    const int last = c->size - 1;
    status mine[RANKS] = {OK};
    agree(mine, OK, 0);
    mine[last] = ERR_INPUT; /* only one */
    agree(mine, ERR_INPUT, last);
    for (int r = 0; r < c->size; r++) mine[r] = ERR_USAGE; /* all alike: the lowest speaks */
    agree(mine, ERR_USAGE, 0);
    mine[last] = ERR_INPUT; /* the worst is not the lowest rank's */
    agree(mine, ERR_INPUT, last);
    for (int r = 1; r < c->size; r++) mine[r] = STOPPED; /* several have the worst */
    agree(mine, STOPPED, 1);
}

int main(void)
{
    c = comm_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks),          cmocka_unit_test(test_max),
        cmocka_unit_test(test_sum_order),      cmocka_unit_test(test_reduce_scatter),
        cmocka_unit_test(test_all_gather),     cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_agree),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(c);
    return failed;
}

#endif
