/* The fixtures' trajectories hold the learning rates that another implementation used; the ends of every
 * schedule must be exact. */
#include "base/file.h"
#include "optim/schedule.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static bool skipped;

static void expect(double got, double want)
{
    if (!(fabs(got - want) <= 1e-14 * fabs(want))) fail_msg("got %.17g, want %.17g", got, want);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number '%s'", key);
    return json_number_value(value);
}

static void test_trajectories(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "llama3_scaled_qlora_bf16", "mistral_norm_fp16_sharded",
                                        "qwen2_bias_tied", "qwen2_deepseek_style"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[100];
        snprintf(name, sizeof name, "%s/mla.trajectory.json", names[i]);
        const char *path = fixture_path(name);
        if (!path) {
            skipped = true;
            skip();
        }
        json_t *file = json_load_file(path, 0, NULL), *recipe = json_object_get(file, "recipe"), *step;
        assert_non_null(recipe);
        const schedule s = {.kind = SCHEDULE_COSINE,
                            .rate = number(recipe, "lr"),
                            .min_rate = number(recipe, "min_lr"),
                            .warmup = (int64_t)number(recipe, "warmup"),
                            .steps = (int64_t)number(recipe, "steps")};
        size_t k;
        json_array_foreach(json_object_get(file, "steps"), k, step)
            expect(schedule_rate(&s, (int64_t)number(step, "step")), number(step, "lr"));
        assert_int_equal(k, s.steps);
        json_decref(file);
    }
}

static schedule example(schedule_kind kind, int64_t warmup, int64_t steps)
{
    return (schedule){.kind = kind, .rate = 1e-3, .min_rate = 1e-4, .warmup = warmup, .steps = steps};
}

/* 4 steps of warm-up, then 16 on the way: step 8 is at a quarter, step 12 at half, step 20 at the end. */
static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        schedule_kind kind;
        double quarter, half, end;
    } cases[] = {{SCHEDULE_COSINE, 0.5 + 0.25 * M_SQRT2, 0.5, 0},
                 {SCHEDULE_LINEAR, 0.75, 0.5, 0},
                 {SCHEDULE_CONSTANT, 1, 1, 1},
                 {SCHEDULE_ONE_MINUS_SQRT, 0.5, 1 - M_SQRT1_2, 0}};
    for (size_t i = 0; i < 4; i++) {
        const schedule s = example(cases[i].kind, 4, 20);
        expect(schedule_rate(&s, 1), 2.5e-4);
        expect(schedule_rate(&s, 3), 7.5e-4);
        assert_true(schedule_rate(&s, 4) == 1e-3);
        expect(schedule_rate(&s, 8), 1e-4 + 9e-4 * cases[i].quarter);
        expect(schedule_rate(&s, 12), 1e-4 + 9e-4 * cases[i].half);
        assert_true(schedule_rate(&s, 20) == (cases[i].end == 1 ? 1e-3 : 1e-4));
        assert_true(schedule_rate(&s, 21) == schedule_rate(&s, 20));
    }
}

/* No warm-up, nothing but warm-up, more warm-up than steps, a single step. */
static void test_short_runs(void **state)
{
    (void)state;
    static const schedule_kind kinds[] = {SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT,
                                          SCHEDULE_ONE_MINUS_SQRT};
    for (size_t i = 0; i < 4; i++) {
        const double end = kinds[i] == SCHEDULE_CONSTANT ? 1e-3 : 1e-4;
        schedule s = example(kinds[i], 0, 2);
        assert_true(schedule_rate(&s, 2) == end);
        s = example(kinds[i], 0, 1);
        assert_true(schedule_rate(&s, 1) == end);
        s = example(kinds[i], 1, 1);
        assert_true(schedule_rate(&s, 1) == 1e-3);
        s = example(kinds[i], 5, 5);
        expect(schedule_rate(&s, 4), 8e-4);
        assert_true(schedule_rate(&s, 5) == 1e-3);
        assert_true(schedule_rate(&s, 6) == 1e-3);
        s = example(kinds[i], 10, 5);
        expect(schedule_rate(&s, 5), 5e-4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trajectories), cmocka_unit_test(test_shapes),
                                       cmocka_unit_test(test_short_runs)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : skipped ? SKIPPED_CODE : 0;
}
