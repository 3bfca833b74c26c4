/* Where a run stands that has gone back: states of made-up runs of 8 sequences a step. */
#include "train/rollback.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static message why;

/* After `steps` more steps. */
static checkpoint_state after(checkpoint_state s, int64_t steps)
{
    s.step += steps;
    s.position += 8 * steps;
    s.tokens += 256 * steps;
    return s;
}

static checkpoint_state gone_back(checkpoint_state then, const checkpoint_state *now, const char *reason)
{
    if (rollback_state(&then, now, reason, &why) != OK) fail_msg("%s", why.text);
    return then;
}

static void expect_pass(const checkpoint_state *s, int i, int64_t step, int64_t from, int64_t to,
                        const char *reason)
{
    const passed_over *p = &s->passed[i];
    if (p->step != step || p->from != from || p->to != to || strcmp(p->why, reason) != 0)
        fail_msg("pass %d: after %lld from %lld to %lld: %s", i, (long long)p->step, (long long)p->from,
                 (long long)p->to, p->why);
}

/* The weights are those of then, the data those of now. */
static void test_once(void **state)
{
    (void)state;
    const checkpoint_state start = {.fingerprint = 5}, then = after(start, 30), now = after(then, 10),
                           s = gone_back(then, &now, "first");
    assert_true(s.step == 30 && s.tokens == then.tokens && s.position == now.position && s.fingerprint == 5);
    assert_int_equal(s.passes, 1);
    expect_pass(&s, 0, 30, 240, 320, "first");
}

/* The checkpoint on the disk is from before the first time, and does not know of it. */
static void test_twice_to_the_same(void **state)
{
    (void)state;
    const checkpoint_state start = {.step = 0}, then = after(start, 30), now = after(then, 10),
                           first = gone_back(then, &now, "first"), again = after(first, 12),
                           s = gone_back(then, &again, "second");
    assert_int_equal(s.passes, 2);
    expect_pass(&s, 0, 30, 240, 320, "first");
    expect_pass(&s, 1, 30, 320, 416, "second");
    assert_true(s.step == 30 && s.position == 416);
}

static void test_onwards(void **state)
{
    (void)state;
    const checkpoint_state start = {.step = 0}, then = after(start, 30), now = after(then, 10),
                           first = gone_back(then, &now, "first"), later = after(first, 20),
                           bad = after(later, 9), s = gone_back(later, &bad, "second");
    assert_int_equal(s.passes, 2);
    expect_pass(&s, 0, 30, 240, 320, "first");
    expect_pass(&s, 1, 50, 480, 552, "second");
}

/* Further back than the first time: what was passed over after steps that are undone is passed over still,
 * and the times are counted. */
static void test_further_back(void **state)
{
    (void)state;
    const checkpoint_state start = {.step = 0}, older = after(start, 20), then = after(older, 10),
                           now = after(then, 10), first = gone_back(then, &now, "first"),
                           again = after(first, 8), s = gone_back(older, &again, "second");
    assert_int_equal(s.passes, 2);
    expect_pass(&s, 0, 20, 160, 320, "first");
    expect_pass(&s, 1, 20, 320, 384, "second");
    assert_true(s.step == 20 && s.position == 384);
}

static void refused(checkpoint_state then, const checkpoint_state *now)
{
    assert_int_equal(rollback_state(&then, now, "", &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "is not from the past of this run"));
}

/* A checkpoint of another run under the right name. */
static void test_another_past(void **state)
{
    (void)state;
    const checkpoint_state start = {.step = 0}, then = after(start, 30), now = after(then, 10),
                           first = gone_back(then, &now, ""), later = after(first, 20),
                           plain = after(now, 30);
    checkpoint_state other = first;
    other.passed[0].to = 400;
    other.position = 400;
    refused(later, &plain); /* has passed over what this run has not */
    refused(after(other, 5), &later);
    refused(now, &now);
    refused(now, &then);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_once), cmocka_unit_test(test_twice_to_the_same),
                                       cmocka_unit_test(test_onwards), cmocka_unit_test(test_further_back),
                                       cmocka_unit_test(test_another_past)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
