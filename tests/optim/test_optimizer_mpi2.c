/* Two ranks, each with its own gradients, against one process that got the sum of them. A failed check
 * stops both ranks (REQUIRE), because the other one would wait forever. */
#include "tests/support/check.h"
#include "base/machine.h"
#include "optim/optimizer.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Odd sizes, padded to a multiple of 32; parameters cross the border between the ranks' slices or lie on one
 * side. Matrices decay. */
enum { UNITS = 3 };
static int64_t used[UNITS] = {71, 1, 70001};
static const int64_t padded[UNITS] = {96, 32, 70016};
#define PARAM(unit_, from, count, axes)                                                                      \
    {                                                                                                        \
        .unit = unit_, .offset = from, .rank = axes, .dim = {count, 1}, .numel = count                       \
    }
static param params[] = {PARAM(0, 0, 5, 2),        PARAM(0, 5, 50, 1),    PARAM(0, 55, 16, 2),
                         PARAM(1, 0, 1, 2),        PARAM(2, 0, 35007, 2), PARAM(2, 35007, 3, 1),
                         PARAM(2, 35010, 34991, 2)};
static int firsts[UNITS + 1] = {0, 3, 4, 7};
static const param_table the_table = {
    .param = params, .count = 7, .num_units = UNITS, .unit_numel = used, .unit_first = firsts};

static const comm *world;

typedef struct side {
    arena memory;
    tensor weight[UNITS], grad[UNITS];
    double loss;
    optimizer o;
} side;

static void clip(side *s, double mean)
{
    tensor loss = tensor_of(&s->loss, F64, "loss", 1, (int64_t[]){1});
    s->loss = 3;
    optimizer_clip(&s->o, &loss, mean, 0);
    REQUIRE(s->loss == 3 * s->o.c->size, "the losses of the ranks add up to %g", s->loss);
}

/* Numbers in [-1,1) that depend on the seed alone. */
static float noise(uint64_t seed, int64_t i)
{
    uint64_t x = (seed << 32 ^ (uint64_t)i) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    return (float)(int32_t)(x >> 32) * 0x1p-31f;
}

static void side_init(side *s, const comm *c)
{
    *s = (side){.memory = {.name = "optimizer"},
                .o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .decay = 0.1}};
    for (int u = 0; u < UNITS; u++) {
        float *weight = calloc((size_t)padded[u], sizeof(float)),
              *grad = calloc((size_t)padded[u], sizeof(float));
        REQUIRE(weight && grad, "memory");
        for (int64_t i = 0; i < used[u]; i++) weight[i] = noise((uint64_t)u, i);
        s->weight[u] = tensor_of(weight, F32, "weight", 1, &padded[u]);
        s->grad[u] = tensor_of(grad, F32, "grad", 1, &padded[u]);
    }
    arena_reserve(&s->memory, 1 << 20);
    memset(s->memory.base, 0xff, (size_t)s->memory.size);
    optimizer_init(&s->o, ops_cpu_f32(), c, c, &the_table, s->weight, s->grad, &s->memory);
}

/* As the end of a step's last micro-batch. */
static void reduce(side *s, int u)
{
    const units sums = optimizer_gradients(&s->o, true);
    units_release(&sums, u);
}

static void side_free(side *s)
{
    optimizer_free(&s->o);
    arena_release(&s->memory);
    for (int u = 0; u < UNITS; u++) {
        free(s->weight[u].data);
        free(s->grad[u].data);
    }
}

static float gradient(int rank, int64_t step, int u, int64_t i)
{
    return noise((uint64_t)(1000 * step + 100 * u + rank + 7), i);
}

static void test_sharded(void **state)
{
    (void)state;
    side both, alone;
    side_init(&both, world);
    side_init(&alone, comm_self());
    REQUIRE(both.memory.used < alone.memory.used * 6 / 10, "the state is not cut: %lld bytes of %lld",
            (long long)both.memory.used, (long long)alone.memory.used);
    for (int64_t step = 1; step <= 5; step++) {
        const double rate = 0.02, scale = 0.5;
        for (int u = 0; u < UNITS; u++) {
            float *mine = both.grad[u].data, *sum = alone.grad[u].data;
            for (int64_t i = 0; i < used[u]; i++) {
                mine[i] = gradient(world->rank, step, u, i);
                sum[i] = gradient(0, step, u, i) + gradient(1, step, u, i);
            }
            reduce(&both, u);
            reduce(&alone, u);
        }
        clip(&both, scale);
        clip(&alone, scale);
        const double got = optimizer_norm(&both.o), want = optimizer_norm(&alone.o);
        REQUIRE(fabs(got - want) <= 1e-13 * want, "norm %.17g, one process has %.17g", got, want);
        optimizer_update(&both.o, rate, step);
        optimizer_update(&alone.o, rate, step);
        for (int u = 0; u < UNITS; u++) {
            const float *x = both.weight[u].data, *y = alone.weight[u].data;
            for (int64_t i = 0; i < padded[u]; i++)
                REQUIRE(fabsf(x[i] - y[i]) <= 1e-6f,
                        "step %lld unit %d element %lld: %.9g, one process has %.9g", (long long)step, u,
                        (long long)i, (double)x[i], (double)y[i]);
            for (int64_t i = used[u]; i < padded[u]; i++) REQUIRE(x[i] == 0, "padding %g", (double)x[i]);
        }
        optimizer_zero_grad(&both.o);
        optimizer_zero_grad(&alone.o);
    }
    side_free(&both);
    side_free(&alone);
}

/* All ranks have the same bits, although each computed half of them. */
static void test_same_weights(void **state)
{
    (void)state;
    side s;
    side_init(&s, world);
    for (int u = 0; u < UNITS; u++) {
        float *grad = s.grad[u].data;
        for (int64_t i = 0; i < used[u]; i++) grad[i] = gradient(world->rank, 1, u, i);
        reduce(&s, u);
    }
    clip(&s, 0.5);
    optimizer_update(&s.o, 0.02, 1);
    for (int u = 0; u < UNITS; u++) {
        const size_t bytes = sizeof(float) * (size_t)padded[u];
        float *first = malloc(bytes);
        REQUIRE(first, "memory");
        memcpy(first, s.weight[u].data, bytes);
        comm_broadcast(world, first, (int64_t)bytes, 0);
        REQUIRE(memcmp(first, s.weight[u].data, bytes) == 0, "unit %d differs from rank 0's", u);
        free(first);
    }
    side_free(&s);
}

/* What gather brings is the whole unit, on both ranks, and set puts it back. */
static void test_round_trip(void **state)
{
    (void)state;
    side s;
    side_init(&s, world);
    for (optim_part part = OPTIM_M; part <= OPTIM_GRAD; part++)
        for (int u = 0; u < UNITS; u++) {
            const size_t bytes = sizeof(float) * (size_t)padded[u];
            float *in = malloc(bytes), *out = malloc(bytes);
            REQUIRE(in && out, "memory");
            for (int64_t i = 0; i < padded[u]; i++) in[i] = noise((uint64_t)(part * 10 + u), i);
            memset(out, 0xff, bytes);
            optimizer_set(&s.o, part, u, in);
            optimizer_gather(&s.o, part, u, out);
            REQUIRE(memcmp(in, out, bytes) == 0, "part %d of unit %d changed on its way", part, u);
            free(in);
            free(out);
        }
    side_free(&s);
}

/* The gathered gradient is the sum. */
static void test_gathered_gradient(void **state)
{
    (void)state;
    side s;
    side_init(&s, world);
    for (int u = 0; u < UNITS; u++) {
        float *grad = s.grad[u].data, *sum = malloc(sizeof(float) * (size_t)padded[u]);
        REQUIRE(sum, "memory");
        for (int64_t i = 0; i < used[u]; i++) grad[i] = gradient(world->rank, 1, u, i);
        reduce(&s, u);
        optimizer_gather(&s.o, OPTIM_GRAD, u, sum);
        for (int64_t i = 0; i < used[u]; i++)
            REQUIRE(sum[i] == gradient(0, 1, u, i) + gradient(1, 1, u, i), "unit %d element %lld: %.9g", u,
                    (long long)i, (double)sum[i]);
        free(sum);
    }
    side_free(&s);
}

/* In the micro-batches before the last one a rank's sum stays its own. */
static void test_earlier_micro_batches(void **state)
{
    (void)state;
    side s;
    side_init(&s, world);
    for (int micro = 0; micro < 3; micro++) {
        const units sums = optimizer_gradients(&s.o, micro == 2);
        for (int u = 0; u < UNITS; u++) {
            const tensor grad = units_acquire(&sums, u);
            REQUIRE(grad.data == s.grad[u].data && grad.dim[0] == padded[u], "unit %d is another buffer", u);
            float *values = grad.data;
            REQUIRE(values[0] == (float)(micro * (world->rank + 1)), "micro-batch %d begins with %g", micro,
                    (double)values[0]);
            values[0] += (float)(world->rank + 1);
            units_release(&sums, u);
        }
    }
    for (int u = 0; u < UNITS; u++) {
        const float *sum = s.grad[u].data;
        REQUIRE(world->rank != 0 || sum[0] == 3 * (1 + 2), "unit %d: the ranks' sum is %g", u,
                (double)sum[0]);
    }
    side_free(&s);
}

int main(void)
{
    world = comm_start();
    if (world->size != 2) return 77;
    message why;
    REQUIRE(machine_start(world->local_rank, world->local_size, &why) == OK, "%s", why.text);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sharded), cmocka_unit_test(test_same_weights),
                                       cmocka_unit_test(test_earlier_micro_batches),
                                       cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_gathered_gradient)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}
