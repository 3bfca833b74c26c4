/* The factor of the gradients: mean, clipping, and what is not finite. */
#include "tests/support/check.h"
#include <math.h>

static double factor_of(const ops *k, double loss, double squares, double mean, double limit)
{
    tensor factor = check_tensor(F64, "factor", 1), sum = check_tensor(F64, "loss", 1),
           square = check_tensor(F64, "squares", 1);
    check_set(&sum, loss);
    check_set(&square, squares);
    k->clip_factor(&factor, &sum, &square, mean, limit, k->stream);
    return check_get(&factor, 0);
}

static void test_factor(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        check_number("below the limit", factor_of(k, 100, 900, 0.01, 1), 0.01, 0);
        check_number("at the limit", factor_of(k, 100, 900, 0.01, 30 * 0.01), 0.01, 0);
        check_number("above", factor_of(k, 100, 900, 0.5, 1), 0.5 / (15 + 1e-6), 1e-15);
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
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_factor), CHECK_TEST(test_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
