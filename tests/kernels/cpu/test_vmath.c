/* The float exp against the C library's in double, over its whole range, at its edges, and in a vector
 * loop. */
#include "tests/support/check.h"
#include "kernels/cpu/vmath.h"

enum { COUNT = 1 << 20 };
static float x[COUNT], y[COUNT];

static void exp_of_all(void)
{
#pragma omp simd
    for (int i = 0; i < COUNT; i++) y[i] = real_exp(x[i]);
}

static void test_accuracy(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) x[i] = -87.3f + (float)i * (176.0f / COUNT);
    exp_of_all();
    for (int i = 0; i < COUNT; i++) {
        int exponent;
        const double want = exp((double)x[i]);
        frexp(want, &exponent);
        if (!(fabs((double)y[i] - want) <= ldexp(1.02, exponent - 24)))
            fail_msg("exp(%a) is %a, want %a", (double)x[i], (double)y[i], want);
    }
}

static void test_edges(void **state)
{
    (void)state;
    const float edge[] = {0, -INFINITY, -1e30f, -87.34f, -88, 88.73f, 1e30f, INFINITY, 88.7228f};
    for (int i = 0; i < 9; i++) x[i] = edge[i];
    x[9] = NAN;
    exp_of_all();
    assert_true(y[0] == 1);
    for (int i = 1; i < 5; i++) assert_true(y[i] == 0);
    for (int i = 5; i < 8; i++) assert_true(isinf(y[i]) && y[i] > 0);
    assert_true(isfinite(y[8]) && y[8] > 3.4e38f);
    assert_true(isnan(y[9]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accuracy), cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
