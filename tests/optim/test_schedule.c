/* Learning rates: what an independent program wrote for 20 steps, closed forms for all four kinds, edges. */
#include "optim/schedule.h"
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>

static bool skipped;

static void test_trajectory(void **state)
{
    (void)state;
    const char *path = fixture_path("llama/mla.trajectory.json");
    if (!path) {
        skipped = true;
        skip();
    }
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) fail_msg("%s: %s", path, error.text);
    const json_t *recipe = json_object_get(root, "recipe"), *steps = json_object_get(root, "steps");
    const schedule s = {.kind = SCHEDULE_COSINE,
                        .rate = json_number_value(json_object_get(recipe, "lr")),
                        .min_rate = json_number_value(json_object_get(recipe, "min_lr")),
                        .warmup = json_integer_value(json_object_get(recipe, "warmup")),
                        .steps = json_integer_value(json_object_get(recipe, "steps"))};
    assert_true(s.rate > 0 && s.steps > s.warmup && s.warmup > 0);
    assert_int_equal(json_array_size(steps), s.steps);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *line = json_array_get(steps, i);
        const json_int_t step = json_integer_value(json_object_get(line, "step"));
        assert_int_equal(step, i + 1);
        check_number("lr", schedule_rate(&s, step), json_number_value(json_object_get(line, "lr")), 1e-14);
    }
    json_decref(root);
}

static const schedule_kind kinds[] = {SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT, SCHEDULE_ONE_MINUS_SQRT};

/* Warm-up of 10, then 100 steps from 1 down to 0.2; the values are worked out by hand. */
static void test_closed_forms(void **state)
{
    (void)state;
    const double at_quarter[] = {0.2 + 0.4 * (1 + sqrt(0.5)), 0.8, 1, 0.6}; /* cos(pi/4), 1/4, -, sqrt(1/4) */
    const double at_half[] = {0.6, 0.6, 1, 1 - 0.8 * sqrt(0.5)};
    const double at_end[] = {0.2, 0.2, 1, 0.2};
    for (int i = 0; i < 4; i++) {
        const schedule s = {.kind = kinds[i], .rate = 1, .min_rate = 0.2, .warmup = 10, .steps = 110};
        check_number("first", schedule_rate(&s, 1), 0.1, 1e-15);
        check_number("warm-up", schedule_rate(&s, 7), 0.7, 1e-15);
        check_number("peak", schedule_rate(&s, 10), 1, 0);
        check_number("quarter", schedule_rate(&s, 35), at_quarter[i], 1e-15);
        check_number("half", schedule_rate(&s, 60), at_half[i], 1e-15);
        check_number("end", schedule_rate(&s, 110), at_end[i], 1e-15);
        check_number("beyond", schedule_rate(&s, 1000), at_end[i], 1e-15);
        for (int64_t step = 11; step <= 110; step++)
            assert_true(schedule_rate(&s, step) <= schedule_rate(&s, step - 1));
    }
}

/* Billions of steps and a range beyond 32 bits do not overflow. */
static void test_large(void **state)
{
    (void)state;
    const schedule s = {.kind = SCHEDULE_LINEAR, .rate = 1, .min_rate = 0, .warmup = 0, .steps = INT64_C(8000000000)};
    check_number("half", schedule_rate(&s, INT64_C(4000000000)), 0.5, 1e-15);
}

/* No warm-up, only warm-up, one step of each: always a finite rate, and the peak where there is no room to fall. */
static void test_edges(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const double last = kinds[i] == SCHEDULE_CONSTANT ? 1 : 0.2;
        const schedule none = {.kind = kinds[i], .rate = 1, .min_rate = 0.2, .warmup = 0, .steps = 4};
        assert_true(schedule_rate(&none, 1) <= 1 && schedule_rate(&none, 1) > 0.2);
        check_number("no warm-up, end", schedule_rate(&none, 4), last, 1e-15);
        const schedule all = {.kind = kinds[i], .rate = 1, .min_rate = 0.2, .warmup = 4, .steps = 4};
        check_number("only warm-up, half", schedule_rate(&all, 2), 0.5, 1e-15);
        check_number("only warm-up, end", schedule_rate(&all, 4), 1, 0);
        const schedule single = {.kind = kinds[i], .rate = 1, .min_rate = 0.2, .warmup = 0, .steps = 1};
        check_number("one step", schedule_rate(&single, 1), last, 1e-15);
        const schedule warm = {.kind = kinds[i], .rate = 1, .min_rate = 0.2, .warmup = 1, .steps = 1};
        check_number("one step of warm-up", schedule_rate(&warm, 1), 1, 0);
        const schedule cut = {.kind = kinds[i], .rate = 1, .min_rate = 0.2, .warmup = 8, .steps = 4};
        check_number("cut short in warm-up", schedule_rate(&cut, 4), 0.5, 1e-15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trajectory),
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_edges),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed || !skipped ? failed : SKIPPED_CODE;
}
