/* The factor of the gradients: mean, norm, clipping, what is not finite, and the order of the squares. */
#include "tests/support/check.h"
#include <math.h>

typedef struct step_clip {
    double factor, norm;
} step_clip;

static step_clip clip_of(const ops *k, const tensor *losses, const tensor *squares, double mean, double limit)
{
    tensor factor = check_tensor(F64, "factor", 1), norm = check_tensor(F64, "norm", 1);
    k->clip_factor(&factor, &norm, losses, squares, mean, limit, k->stream);
    return (step_clip){check_get(&factor, 0), check_get(&norm, 0)};
}

/* One loss and one square. */
static step_clip clip_of_two(const ops *k, double loss, double square, double mean, double limit)
{
    tensor losses = check_tensor(F64, "losses", 1), squares = check_tensor(F64, "squares", 1);
    check_set(&losses, loss);
    check_set(&squares, square);
    return clip_of(k, &losses, &squares, mean, limit);
}

static double factor_of(const ops *k, double loss, double square, double mean, double limit)
{
    return clip_of_two(k, loss, square, mean, limit).factor;
}

static void test_factor(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        check_number("below the limit", factor_of(k, 100, 900, 0.01, 1), 0.01, 0);
        check_number("at the limit", factor_of(k, 100, 900, 0.01, 30 * 0.01), 0.01, 0);
        check_number("above", factor_of(k, 100, 900, 0.5, 1), 0.5 / (15 + 1e-6), 1e-15);
        check_number("norm", clip_of_two(k, 100, 900, 0.5, 1).norm, 15, 0);
        check_number("no limit", factor_of(k, 100, 900, 0.5, 0), 0.5, 0);
        check_number("no gradient", factor_of(k, 0, 0, 0.5, 1), 0.5, 0);
    }
}

static void test_not_finite(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        assert_true(isnan(factor_of(k, (double)INFINITY, 1, 1, 1)));
        assert_true(isnan(factor_of(k, (double)NAN, 1, 1, 1)));
        assert_true(isnan(factor_of(k, 1, (double)INFINITY, 1, 1)));
        assert_true(isnan(factor_of(k, 1, (double)NAN, 1, 0)));
        assert_true(isinf(clip_of_two(k, 1, (double)INFINITY, 1, 1).norm));
        check_number("norm of a lost step", clip_of_two(k, (double)NAN, 16, 1, 1).norm, 4, 0);
    }
}

/* More squares and losses than a GPU's block has threads. */
enum { NUM_LOSSES = 1500, NUM_SQUARES = 20011 };

static void test_many(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        tensor losses = check_tensor(F64, "losses", NUM_LOSSES),
               squares = check_tensor(F64, "squares", NUM_SQUARES);
        check_fill(&losses, 1, -1, 3);
        check_fill(&squares, 2, 0, 1);
        long double exact = 0;
        double in_order = 0;
        for (int64_t e = 0; e < NUM_SQUARES; e++) {
            exact += (long double)check_get(&squares, e);
            in_order += check_get(&squares, e);
        }
        const double want = (double)sqrtl(exact) / 64;
        const step_clip got = clip_of(k, &losses, &squares, 1. / 64, 0.5);
        check_number("norm", got.norm, want, 1e-13);
        check_number("factor", got.factor, 0.5 / (want + 1e-6) / 64, 1e-13);
        assert_true(clip_of(k, &losses, &squares, 1. / 64, 0.5).norm == got.norm);
        if (!k->device) assert_true(got.norm == sqrt(in_order) / 64);
        for (int64_t e = 0; e < NUM_LOSSES; e += 1499) {
            const double was = check_get(&losses, e);
            check_put(&losses, e, (double)INFINITY);
            assert_true(isnan(clip_of(k, &losses, &squares, 1, 0).factor));
            check_put(&losses, e, was);
        }
        check_put(&squares, NUM_SQUARES - 1, (double)NAN);
        assert_true(isnan(clip_of(k, &losses, &squares, 1, 0).factor));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_factor), CHECK_TEST(test_not_finite),
                                       CHECK_TEST(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
