/* Sums against long double, sums that only double holds, and equal bits with any number of threads. */
#include "tests/support/check.h"

/* One element, a bit, one block, blocks and a bit, and more blocks than are summed at a time. */
static const int64_t sizes[] = {1, 77, 4096, 3 * 4096 + 5, 1025 * 4096 + 1};
enum { NUM_SIZES = sizeof sizes / sizeof *sizes };

static void test_sums(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SIZES; j++) {
            tensor inp = check_tensor(k->real, "inp", sizes[j]), result = check_tensor(F64, "result", 1);
            check_fill(&inp, 1, -1, 2);
            long double sum = 0, squares = 0;
            for (int64_t e = 0; e < sizes[j]; e++) {
                const long double x = (long double)check_get(&inp, e);
                sum += x;
                squares += x * x;
            }
            check_set(&result, 0);
            k->sum(&result, &inp, k->stream);
            check_number("sum", check_get(&result, 0), (double)sum, 1e-13);
            k->squared_norm(&result, &inp, k->stream);
            check_number("squared norm added", check_get(&result, 0), (double)(sum + squares), 1e-13);
        }
}

/* Float would lose the ones beside 2^24, and overflow at the square of 1e30. */
static void test_range(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (k->real != F32) continue;
        tensor inp = check_tensor(F32, "inp", 3, 3), result = check_tensor(F64, "result", 1);
        check_set(&inp, 1);
        check_set(&result, 0);
        check_put(&inp, 0, 16777216);
        k->sum(&result, &inp, k->stream);
        check_number("sum", check_get(&result, 0), 16777224, 0);
        check_set(&inp, 1e30);
        check_set(&result, 0);
        k->squared_norm(&result, &inp, k->stream);
        check_number("squared norm", check_get(&result, 0), 9e60, 1e-6);
    }
}

typedef struct problem {
    const ops *k;
    tensor inp, sum, squares;
} problem;

static void both(void *context)
{
    problem *p = context;
    check_set(&p->sum, 0);
    check_set(&p->squares, 0);
    p->k->sum(&p->sum, &p->inp, p->k->stream);
    p->k->squared_norm(&p->squares, &p->inp, p->k->stream);
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = {k, check_tensor(k->real, "inp", 100, 1000), check_tensor(F64, "sum", 1),
                     check_tensor(F64, "squares", 1)};
        check_fill(&p.inp, 2, -1, 1);
        check_threads(both, &p, 2, (const tensor *const[]){&p.sum, &p.squares});
    }
}

static void sum_to_float(void *context) { ops_cpu_f32()->sum(context, context, ops_cpu_f32()->stream); }

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    tensor t = check_tensor(F32, "t", 1);
    check_stops(sum_to_float, &t, ERR_BUG, "sum_cpu_f32: t f32(1), expected f64(1)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_sums),
        CHECK_TEST(test_range),
        CHECK_TEST(test_threads),
        CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
