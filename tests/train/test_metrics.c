/* What metrics.jsonl holds when a run goes on from a step: the lines up to it, and the events of what was
 * passed over after it; and what the run learns from it. */
#include "train/metrics.h"
#include "base/file.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static message why;
static char run[PATH_BYTES], path[PATH_BYTES];

/* Opens the file, lets `write` add lines, closes it. Returns what the losses in it say. */
static loss_watch open_at(const checkpoint_state *state, void (*write)(metrics *m))
{
    metrics m;
    loss_watch watch = {.taken = 0};
    if (metrics_open(&m, run, state, 0, false, &watch, &why) != OK) fail_msg("%s", why.text);
    if (write) write(&m);
    metrics_close(&m);
    return watch;
}

static void step(metrics *m, int64_t number, double loss, double norm)
{
    metrics_step(m, &(step_metrics){.step = number, .loss = loss, .grad_norm = norm});
}

static void three_steps(metrics *m)
{
    step(m, 1, 5, 1);
    step(m, 2, 4, 1);
    metrics_validation(m, 2, &(evaluation){.loss = 4.5});
    step(m, 3, NAN, 1);
    step(m, 4, 3, INFINITY);
}

typedef struct seen {
    char text[512];
} seen;

/* "3", "2v", "3:rollback": steps, validations, events. */
static void see(void *context, const json_t *line, int64_t at, int64_t number)
{
    (void)number;
    seen *s = context;
    const char *event = json_string_value(json_object_get(line, "event"));
    const size_t used = strlen(s->text);
    snprintf(s->text + used, sizeof s->text - used, "%lld%s%s%s ", (long long)at,
             json_object_get(line, "val_loss") ? "v" : "", event ? ":" : "", event ? event : "");
}

static void expect(const char *want)
{
    seen s = {""};
    int64_t broken;
    assert_int_equal(line_log_read(path, see, &s, &broken, &why), OK);
    assert_string_equal(s.text, want);
    assert_int_equal(broken, 0);
}

static int new_run(void **state)
{
    (void)state;
    static int runs;
    char name[32];
    snprintf(name, sizeof name, "run-%d", runs++);
    snprintf(run, sizeof run, "%s", scratch_path(name));
    path_join(path, run, "metrics.jsonl");
    return folder_make(run, &why);
}

static void test_goes_on(void **state)
{
    (void)state;
    const checkpoint_state start = {.step = 0}, three = {.step = 3}, four = {.step = 4};
    open_at(&start, three_steps);
    expect("1 2 2v 3 4 ");
    loss_watch w = open_at(&four, NULL);
    assert_true(w.taken == 4 && w.far == 2 && w.skips == 2);
    w = open_at(&three, NULL);
    assert_true(w.taken == 3 && w.far == 1 && w.skips == 1);
    expect("1 2 2v 3 ");
}

/* The events come with the step after which the run has gone back, each once, however often it starts there;
 * a start from before them drops them. */
static void test_rollbacks(void **state)
{
    (void)state;
    const checkpoint_state start = {.step = 0}, plain = {.step = 2},
                           once = {.step = 2, .passes = 1, .passed = {{2, 16, 32, "loss \"5\""}}},
                           twice = {.step = 2, .passes = 2, .passed = {{2, 16, 32, "a"}, {2, 32, 48, "b"}}},
                           later = {.step = 3, .passes = 2, .passed = {{2, 16, 32, "a"}, {3, 40, 48, "b"}}};
    open_at(&start, three_steps);
    for (int i = 0; i < 2; i++) {
        open_at(&once, NULL);
        expect("1 2 2v 3:rollback ");
    }
    open_at(&twice, NULL);
    expect("1 2 2v 3:rollback 3:rollback ");
    open_at(&plain, NULL);
    expect("1 2 2v ");
    open_at(&once, three_steps);
    open_at(&later, NULL);
    expect("1 2 2v 3:rollback 1 2 2v 3 4:rollback ");

    char *text;
    int64_t bytes;
    assert_int_equal(file_read_text(path, 10000, &text, &bytes, &why), OK);
    assert_non_null(strstr(text, "{\"step\": 3, \"event\": \"rollback\", \"from\": 16, \"to\": 32, \"why\": "
                                 "\"loss \\\"5\\\"\"}\n"));
    free(text);
}

static void test_broken(void **state)
{
    (void)state;
    seen s = {""};
    int64_t broken;
    static const char text[] =
        "{\"step\": 1, \"loss\": 2}\nx\n{\"step\": 2, \"loss\": 2}\n{\"step\": 3, \"lo";
    assert_int_equal(file_write(path, text, (int64_t)strlen(text), NULL, &why), OK);
    assert_int_equal(line_log_read(path, see, &s, &broken, &why), OK);
    assert_string_equal(s.text, "1 2 ");
    assert_int_equal(broken, 2);
    assert_int_equal(line_log_read("nowhere/metrics.jsonl", see, &s, &broken, &why), ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_goes_on, new_run),
                                       cmocka_unit_test_setup(test_rollbacks, new_run),
                                       cmocka_unit_test_setup(test_broken, new_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
