/* The limit follows the median of the last steps, between its bounds. */
#include "train/patience.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void take(patience *p, int steps, double seconds)
{
    for (int i = 0; i < steps; i++) patience_step(p, seconds);
}

static void test_limits(void **state)
{
    (void)state;
    patience p = {.steps = 0};
    assert_true(patience_limit(&p) == 600);
    take(&p, 1, 100); /* the first step is slow */
    assert_true(patience_limit(&p) == 2000);
    take(&p, 2, 4);
    assert_true(patience_limit(&p) == 80);
    take(&p, 10, 0.5);
    assert_true(patience_limit(&p) == 60);
    take(&p, 4, 1e6); /* a few that waited for a disk */
    assert_true(patience_limit(&p) == 60);
    take(&p, PATIENCE_STEPS, 10); /* sequences have grown: what was before is forgotten */
    assert_true(patience_limit(&p) == 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
