/* One rank. The oracle is AdamW written out in double on plain arrays. */
#include "tests/support/check.h"
#include "optim/optimizer.h"
#include <math.h>
#include <string.h>

/* Two units of 23 and 48 elements. In the first one a vector, which does not decay, lies between two
 * matrices. */
enum { UNITS = 2, MOST = 48, PADDED = 1024 /* 64 segments of 16 */ };
static int64_t used[UNITS] = {23, 48};
static param params[] = {{.unit = 0, .offset = 0, .rank = 2, .dim = {7, 1}, .numel = 7},
                         {.unit = 0, .offset = 7, .rank = 1, .dim = {3, 1}, .numel = 3},
                         {.unit = 0, .offset = 10, .rank = 2, .dim = {1, 13}, .numel = 13},
                         {.unit = 1, .offset = 0, .rank = 1, .dim = {48, 1}, .numel = 48}};
static int firsts[UNITS + 1] = {0, 3, 4};
static const param_table the_table = {.param = params,
                                      .count = 4,
                                      .num_units = UNITS,
                                      .unit_numel = used,
                                      .unit_first = firsts,
                                      .head_unit = UNITS - 1};

typedef struct fixture {
    arena memory;
    shards s;
    optimizer o;
    tensor weight[UNITS], grad[UNITS]; /* (PADDED) act, real: as passes see them */
} fixture;

static void lay_out(fixture *f, const ops *k, arena *a)
{
    static const shards_settings set = {.stage = 1, .how = {.sent = F32}, .micro_batches = 1};
    shards_init(&f->s, k, comm_self(), &the_table, &set, a);
    optimizer_init(&f->o, comm_self(), &f->s, a);
}

static void setup(fixture *f, const ops *k)
{
    *f = (fixture){.memory = {.name = "optimizer", .device = k->device},
                   .o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-3, .decay = 0.1}};
    arena size = {.name = "optimizer"};
    lay_out(f, k, &size);
    optimizer_free(&f->o);
    shards_free(&f->s);
    arena_reserve(&f->memory, size.used);
    /* What was there before must not matter. (A device's memory is NaN on the emulator.) */
    if (!k->device) memset(f->memory.base, 0xff, (size_t)f->memory.size);
    lay_out(f, k, &f->memory);
    assert_int_equal(f->memory.used, size.used);
    for (int u = 0; u < UNITS; u++) {
        assert_int_equal(shards_padded(&f->s, u), PADDED);
        f->weight[u] = check_tensor(k->act, "weight", PADDED);
        f->grad[u] = check_tensor(k->real, "grad", PADDED);
        check_set(&f->weight[u], 0);
        tensor weight = tensor_rows(&f->weight[u], 0, used[u]);
        check_fill(&weight, 10 + (uint64_t)u, -1, 1);
        float full[PADDED];
        for (int64_t i = 0; i < PADDED; i++) full[i] = (float)check_get(&f->weight[u], i);
        optimizer_set(&f->o, OPTIM_MASTER, u, full);
    }
    optimizer_masters_set(&f->o);
}

static void teardown(fixture *f)
{
    optimizer_free(&f->o);
    shards_free(&f->s);
    arena_release(&f->memory);
}

/* A step's only micro-batch. Its gradient is in f->grad, too; that of step 0 is zero. */
static void gradients(fixture *f, int64_t step)
{
    const units sums = shards_gradients(&f->s, 0);
    const float loss = 1;
    optimizer_begin(&f->o);
    tensor sum = optimizer_loss(&f->o, 0);
    f->s.k->upload(&sum, &loss, f->s.k->stream);
    for (int u = 0; u < UNITS; u++) {
        check_set(&f->grad[u], 0);
        tensor grad = tensor_rows(&f->grad[u], 0, used[u]), whole = units_acquire(&sums, u);
        if (step) check_fill(&grad, (uint64_t)(100 * step + u), -3, 3);
        f->s.k->add(&whole, &whole, &f->grad[u], f->s.k->stream);
        units_release(&sums, u);
    }
}

/* What a pass sees now. */
static void see_weights(fixture *f)
{
    const units weights = shards_weights(&f->s);
    for (int u = 0; u < UNITS; u++) {
        const tensor whole = units_acquire(&weights, u);
        double values[PADDED];
        f->s.k->download_f64(values, &whole, f->s.k->stream);
        for (int64_t i = 0; i < PADDED; i++) check_put(&f->weight[u], i, values[i]);
        units_release(&weights, u);
    }
}

/* bf16: weights are rounded masters. */
static double tolerance(dtype act) { return act == F64 ? 1e-14 : act == F32 ? 1e-6 : check_tolerance(act); }

static bool decays(int u, int64_t i) { return u == 0 && (i < 7 || i >= 10); }

static void test_updates(void **state)
{
    (void)state;
    const ops *k;
    for (int table = 0; (k = check_table(table)); table++) {
        fixture f;
        setup(&f, k);
        double weight[UNITS][MOST], m[UNITS][MOST] = {{0}}, v[UNITS][MOST] = {{0}};
        for (int u = 0; u < UNITS; u++)
            for (int64_t i = 0; i < used[u]; i++) weight[u][i] = check_get(&f.weight[u], i);
        for (int64_t step = 1; step <= 4; step++) {
            const double rate = 0.01 * (double)step, scale = 0.25;
            double squares = 0;
            gradients(&f, step);
            for (int u = 0; u < UNITS; u++)
                for (int64_t i = 0; i < used[u]; i++) {
                    const double g = check_get(&f.grad[u], i) * scale;
                    squares += g * g;
                    m[u][i] = 0.9 * m[u][i] + 0.1 * g;
                    v[u][i] = 0.95 * v[u][i] + 0.05 * g * g;
                    weight[u][i] *= 1 - rate * (decays(u, i) ? 0.1 : 0);
                    weight[u][i] -= rate * (m[u][i] / (1 - pow(0.9, (double)step))) /
                                    (sqrt(v[u][i] / (1 - pow(0.95, (double)step))) + 1e-3);
                }
            optimizer_clip(&f.o, scale, 0);
            check_number("norm", optimizer_norm(&f.o), sqrt(squares), 1e-12);
            optimizer_update(&f.o, rate, step);
            see_weights(&f);
            for (int u = 0; u < UNITS; u++) {
                const tensor got = tensor_rows(&f.weight[u], 0, used[u]);
                const tensor want = tensor_of(weight[u], F64, "want", 1, &used[u]);
                check_close("weight", &got, &want, tolerance(k->act));
                for (int64_t i = used[u]; i < PADDED; i++) assert_true(check_get(&f.weight[u], i) == 0);
            }
        }
        teardown(&f);
    }
}

static void test_gather_and_set(void **state)
{
    (void)state;
    const ops *k;
    for (int table = 0; (k = check_table(table)); table++) {
        fixture f;
        setup(&f, k);
        gradients(&f, 1);
        for (optim_part part = OPTIM_M; part <= OPTIM_GRAD; part++)
            for (int u = 0; u < UNITS; u++) {
                float in[PADDED], out[PADDED];
                optimizer_gather(&f.o, part, u, out);
                for (int64_t i = 0; i < PADDED; i++) {
                    const double want = part == OPTIM_GRAD     ? check_get(&f.grad[u], i)
                                        : part == OPTIM_MASTER ? check_get(&f.weight[u], i)
                                                               : 0;
                    assert_true((double)out[i] == want);
                    in[i] = (float)(i + 1) / (float)(part + 3);
                }
                optimizer_set(&f.o, part, u, in);
                optimizer_gather(&f.o, part, u, out);
                assert_memory_equal(in, out, sizeof(float) * (size_t)PADDED);
            }
        /* m and v are where update looks: m/(1-beta1) over sqrt(v/(1-beta2)) + eps. */
        gradients(&f, 0);
        const double before = (double)(6 / 5.f), m = 6 / 3., v = 6 / 4.;
        optimizer_clip(&f.o, 1, 0);
        optimizer_update(&f.o, 0.01, 1);
        see_weights(&f);
        check_number("weight", check_get(&f.weight[1], 5),
                     before - 0.01 * (0.9 * m / 0.1) / (sqrt(0.95 * v / 0.05) + 1e-3),
                     k->act == F64 ? 1e-6 : tolerance(k->act));
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_updates), CHECK_TEST(test_gather_and_set)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
