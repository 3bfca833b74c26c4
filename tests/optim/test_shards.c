/* One rank: the machinery of all stages and sums, on every table; how units are cut; what is refused. */
#include "tests/support/check.h"
#include "tests/optim/shards_trial.h"

static void test_steps(void **state)
{
    (void)state;
    static const int64_t many[] = {1, 4, 7}, few[] = {3};
    const ops *k;
    /* A device's ranks need its communicator: tests/e2e/device.sh. */
    for (int table = 0; (k = check_table(table)) && !k->device; table++)
        trial_all(k, comm_self(), table ? few : many, table ? 1 : 3);
}

/* A unit is at least as large as its parameters, little larger, and cut into equal slices of whole segments,
 * which do not depend on the ranks. */
static void test_layout(void **state)
{
    (void)state;
    int64_t numel[] = {1, 1023, 1025, 65537, 1000003, 202383360};
    const param_table t = {.num_units = 6, .unit_numel = numel};
    for (int ranks = 1; ranks <= 1024; ranks = ranks < 9 ? ranks + 1 : 2 * ranks) {
        shard_layout l, one;
        shard_layout_init(&l, &t, ranks, ranks - 1);
        shard_layout_init(&one, &t, 1, 0);
        for (int u = 0; u < t.num_units; u++) {
            const int64_t segment = l.padded[u] / l.segments[u];
            assert_int_equal(l.segments[u] * segment, l.padded[u]);
            assert_int_equal(segment % 16, 0);
            assert_int_equal(segment, one.padded[u] / one.segments[u]);
            assert_int_equal(l.segments[u] % ranks, 0);
            assert_int_equal(shard_layout_slice(&l, u) * ranks, l.padded[u]);
            assert_int_equal(l.first[u + 1], one.first[u + 1]);
            assert_true(l.padded[u] >= numel[u]);
            assert_true(one.padded[u] < numel[u] + numel[u] / 64 + 1024);
        }
        shard_layout_free(&l);
        shard_layout_free(&one);
    }
}

/* Measures as `remla plan` does: no memory, no other ranks. */
static shards_bytes bytes_of(const param_table *t, int ranks, int stage, bool pairwise, int64_t micro_batches)
{
    const comm c = {.size = ranks};
    const shards_settings set = {
        .stage = stage, .how = {.pairwise = pairwise}, .micro_batches = micro_batches};
    arena size = {.name = "measured"};
    shards s;
    shards_init(&s, ops_cpu_f32(), &c, t, &set, &size);
    const shards_bytes b = s.bytes;
    assert_int_equal(size.used, b.weights + b.gradients + b.sides);
    shards_free(&s);
    return b;
}

static void test_memory(void **state)
{
    (void)state;
    int64_t numel[] = {1 << 20, 1 << 18, 1 << 18, 1 << 20};
    int first[5] = {0};
    param_table t = {.num_units = 4, .unit_numel = numel, .unit_first = first, .head_unit = 3};
    const int64_t all = 4 * ((2 << 20) + (2 << 18)), pair = 4 * ((1 << 20) + (1 << 18));
    const struct {
        int stage;
        bool pairwise;
        shards_bytes want;
    } cases[] = {
        {0, false, {all, all, 0}},
        {0,
         true,
         {all, all + 2 * all / 4, pair}}, /* 6 micro-batches: three levels, one of them in the whole */
        {1, false, {all, all, 0}},
        {1, true, {all, 3 * all / 4, pair}},
        {2, false, {all, all / 4, pair}},
        {3, false, {all / 4, all / 4, 2 * pair}},
        {3, true, {all / 4, 3 * all / 4, 2 * pair}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const shards_bytes got = bytes_of(&t, 4, cases[i].stage, cases[i].pairwise, 6);
        assert_int_equal(got.weights, cases[i].want.weights);
        assert_int_equal(got.gradients, cases[i].want.gradients);
        assert_int_equal(got.sides, cases[i].want.sides);
    }
    t.head_unit = 0; /* tied: the gradient has a place of its own, beside those of two layers */
    numel[3] = 64;
    const shards_bytes got = bytes_of(&t, 4, 2, false, 6);
    assert_int_equal(got.sides, 4 * ((1 << 20) + 2 * (1 << 18)));
}

typedef struct misuse {
    trial x;
    units units;
} misuse;

static void begin(misuse *b, bool gradients)
{
    static trial_table t;
    trial_table_init(&t, false);
    trial_init(&b->x, ops_cpu_f32(), comm_self(), comm_self(), &t, 3, false, 2);
    b->units = gradients ? shards_gradients(&b->x.s, 0) : shards_weights(&b->x.s);
    units_acquire(&b->units, 2);
}

static void second_weight(void *context)
{
    misuse b;
    begin(&b, context);
    units_acquire(&b.units, 3);
}

static void other_release(void *context)
{
    misuse b;
    begin(&b, context);
    units_release(&b.units, 3);
}

static void held_to_the_end(void *context)
{
    misuse b;
    begin(&b, context);
    optimizer_clip(&b.x.o, 1, 0);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    static char yes;
    check_stops(second_weight, NULL, ERR_BUG, "unit 3 is acquired while 2 is held");
    check_stops(other_release, NULL, ERR_BUG, "unit 3 is released while 2 is held");
    check_stops(other_release, &yes, ERR_BUG, "the gradient of unit 3 is released, but was not acquired");
    check_stops(held_to_the_end, &yes, ERR_BUG, "the gradient of unit 2 is held when its place is needed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_steps), cmocka_unit_test(test_layout),
                                       cmocka_unit_test(test_memory), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
