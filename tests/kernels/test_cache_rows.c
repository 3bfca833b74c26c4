/* Rows into a cache and out of it: what f32 keeps exactly, and what bf16 and bytes keep within half a step of
 * theirs; rows of zeros, of tiny and of huge numbers, and such as are not finite; nothing else is written. */
#include "tests/support/check.h"
#include <math.h>

enum { N = 9, WIDTH = 37, ROWS = 40 };

typedef struct problem {
    const ops *k;
    tensor wide, inp, out, slot; /* inp lies between other columns */
    cached c;
} problem;

static problem problem_of(const ops *k, dtype type)
{
    problem p = {.k = k,
                 .wide = check_tensor(k->act, "wide", N, WIDTH + 4),
                 .out = check_tensor(k->act, "out", N, WIDTH),
                 .slot = check_tensor(I32, "slot", N),
                 .c = {.rows = check_tensor(type, "cached", ROWS, WIDTH)}};
    p.inp = tensor_slice(&p.wide, 3, WIDTH);
    if (type == F8) p.c.scale = check_tensor(F32, "scale", ROWS);
    check_fill(&p.inp, 1, -3, 3);
    for (int64_t n = 0; n < N; n++) check_put(&p.slot, n, (double)((n * 7 + 3) % ROWS));
    return p;
}

static void run(problem *p)
{
    p->k->cache_write(&p->c, &p->inp, &p->slot, p->k->stream);
    p->k->cache_read(&p->out, &p->c, &p->slot, p->k->stream);
}

static double largest(const tensor *row)
{
    double most = 0;
    for (int64_t i = 0; i < WIDTH; i++) most = fmax(most, fabs(check_get(row, i)));
    return most;
}

/* What an element may be off by: half of a step of the type, and what the table's own type rounds. */
static double allowed(const problem *p, double x, double most)
{
    const dtype type = p->c.rows.type;
    const double again = p->k->act == BF16 ? fabs(x) * 0x1p-8 : fabs(x) * 0x1p-22;
    if (type == F8) return fmax(fabs(x) * 0x1p-4, most / 448 * 0x1p-10) + again;
    return type == BF16 ? fabs(x) * 0x1p-8 : p->k->act == BF16 ? 0 : type == p->k->act ? 0 : again;
}

static void test_kept(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int t = 0; t < 3; t++) {
            problem p = problem_of(k, (dtype[]){k->real, BF16, F8}[t]);
            for (int64_t e = 0; e < WIDTH; e++) {
                check_put(&p.inp, e, 0);
                check_put(&p.inp, WIDTH + e, check_get(&p.inp, WIDTH + e) * 1e-30);
                check_put(&p.inp, 2 * WIDTH + e, check_get(&p.inp, 2 * WIDTH + e) * 1e30);
                check_put(&p.inp, 3 * WIDTH + e, e == 5 ? 1 : ldexp(1, -(int)(e % 20))); /* many steps down */
            }
            run(&p);
            for (int64_t n = 0; n < N; n++) {
                const tensor inp = tensor_rows(&p.inp, n, 1), out = tensor_rows(&p.out, n, 1);
                const double most = largest(&inp);
                for (int64_t e = 0; e < WIDTH; e++) {
                    const double x = check_get(&inp, e), got = check_get(&out, e);
                    if (!(fabs(got - x) <= allowed(&p, x, most)))
                        fail_msg("%s, %s: row %lld, element %lld: got %g, want %g within %g", k->name,
                                 dtype_name(p.c.rows.type), (long long)n, (long long)e, got, x,
                                 allowed(&p, x, most));
                }
                /* The largest is what the scale is made of. */
                if (t == 2)
                    check_number("largest of bytes", largest(&out), most, k->act == BF16 ? 0x1p-8 : 1e-6);
            }
            for (int64_t r = 0; r < ROWS; r++) {
                bool written = false;
                for (int64_t n = 0; n < N; n++) written = written || (int64_t)check_get(&p.slot, n) == r;
                assert_true(written || isnan(check_get(&p.c.rows, r * WIDTH)));
            }
        }
}

/* Bytes in the cache against the nearest that there is, for every step of the type and what lies between. */
static void test_bytes(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (k->act == BF16) continue; /* cannot hold what lies between */
        enum { COUNT = 4 * 127 + 1 };
        tensor codes = check_tensor(F8, "codes", COUNT), inp = check_tensor(k->act, "inp", 1, COUNT),
               slot = check_tensor(I32, "slot", 1);
        cached c = {.rows = check_tensor(F8, "cached", 1, COUNT), .scale = check_tensor(F32, "scale", 1)};
        for (int64_t e = 0; e < 126; e++) {
            ((uint8_t *)codes.data)[0] = (uint8_t)e;
            const double low = check_get(&codes, 0);
            ((uint8_t *)codes.data)[0] = (uint8_t)(e + 1);
            const double step = check_get(&codes, 0) - low;
            for (int64_t part = 0; part < 4; part++)
                check_put(&inp, 4 * e + part, (part % 2 ? -1 : 1) * (low + step * (double)part / 4));
        }
        for (int64_t e = 4 * 126; e < COUNT; e++) check_put(&inp, e, e % 2 ? 448 : -448);
        check_put(&slot, 0, 0);
        k->cache_write(&c, &inp, &slot, k->stream);
        check_number("scale", check_get(&c.scale, 0), 1, 0);
        for (int64_t e = 0; e < COUNT; e++) check_put(&codes, e, check_get(&inp, e));
        for (int64_t e = 0; e < COUNT; e++)
            check_number("element", check_get(&c.rows, e), check_get(&codes, e), 0);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int t = 0; t < 3; t++) {
            problem p = problem_of(k, (dtype[]){k->real, BF16, F8}[t]);
            check_put(&p.inp, 5, NAN);
            check_put(&p.inp, WIDTH + 6, INFINITY);
            run(&p);
            assert_true(isnan(check_get(&p.out, 5)));
            assert_false(isfinite(check_get(&p.out, WIDTH + 6)));
            for (int64_t e = 2 * WIDTH; e < N * WIDTH; e++) assert_true(isfinite(check_get(&p.out, e)));
        }
}

static void outside(void *context) { run(context); }

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), BF16);
    check_put(&p.slot, 2, ROWS);
    check_stops(outside, &p, ERR_BUG, "slot[2] is 40 of 40");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_kept),
        CHECK_TEST(test_bytes),
        CHECK_TEST(test_not_finite),
        CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
