/* Curves that must pass, with noise, a steep fall, spikes; and explosions that must not. */
#include "train/loss_watch.h"
#include "tests/support/draw.h"
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

/* Normal numbers from a fixed generator, by adding twelve uniform ones. */
static double noise(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += draw_uniform(state);
    return sum;
}

static bool add(loss_watch *w, double loss)
{
    loss_watch_add(w, loss, false);
    return w->far > 0;
}

/* 0.3 nats of noise, as of small batches of unlike texts: 7 noises are about 2.1. A loss that is called far
 * now and then puts a checkpoint off by a step. */
static void test_steady(void **state)
{
    (void)state;
    int far = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        loss_watch w = {.taken = 0};
        uint64_t random = seed;
        for (int i = 0; i < 5000; i++) {
            far += add(&w, 2.5 + 0.3 * noise(&random));
            assert_true(w.far <= 1);
        }
        assert_true(w.past > 2.0 && w.past < 2.5);
    }
    assert_true(far <= 10); /* of 100,000 */
}

static void test_falling(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    uint64_t random = 3;
    for (int i = 0; i < 2000; i++) assert_false(add(&w, 2 + 9 * exp(-i / 10.0) + 0.05 * noise(&random)));
    assert_true(fabs(w.past - 2) < 0.1);
    assert_true(fabs(w.limit - w.past - 1) < 1e-9); /* the floor: 7 noises are less */
}

/* The level at the end of the fall counts, not that of the whole window, and the slope is not noise. */
static void test_falls_then_explodes(void **state)
{
    (void)state;
    static const double curve[] = {12.2, 11.15, 9.43, 8.2,  6.78, 5.75, 5.5,  5.3,  5.22, 4.76, 4.77,
                                   4.62, 4.45,  4.37, 4.48, 4.4,  4.36, 4.34, 4.09, 3.68, 4.11};
    loss_watch w = {.taken = 0};
    for (size_t i = 0; i < sizeof curve / sizeof curve[0]; i++) assert_false(add(&w, curve[i]));
    assert_true(add(&w, 6.48));
    static const double exploded[] = {5.65, 5.69, 8.25, 7.37, 8.41, 10.32, 8.77, 9.7, 6.04, 5.72,
                                      9.35, 5.19, 6.2,  6.8,  5.42, 7.03,  6.46, 7.3, 5.75, 7.93};
    for (size_t i = 0; i < sizeof exploded / sizeof exploded[0]; i++) assert_true(add(&w, exploded[i]));
    assert_int_equal(w.far, 21);
    for (int i = 0; i < 3; i++) assert_true(add(&w, 4)); /* a median of eight above 5.5 */
    assert_false(add(&w, 4));
}

static void test_spike_is_over_at_once(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    for (int i = 0; i < 40; i++) assert_false(add(&w, 2));
    assert_false(add(&w, 2.99));
    assert_true(add(&w, 3.01));
    assert_false(add(&w, 2));
}

/* However slowly it comes, and however long it stays. */
static void test_creeps_up_and_stays(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    uint64_t random = 5;
    for (int i = 0; i < 100; i++) assert_false(add(&w, 2 + 0.02 * noise(&random)));
    int first = 0;
    for (int i = 1; i <= 20000; i++)
        if (add(&w, 2 + fmin(i / 1000.0, 6) + 0.02 * noise(&random)) && !first) first = i;
    assert_in_range(first, 850, 1050);
    assert_true(w.far > 18000);
}

static void test_skipped(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    loss_watch_add(&w, 2, true);
    assert_int_equal(w.far, 1);
    loss_watch_add(&w, NAN, false);
    assert_int_equal(w.far, 2);
    for (int i = 0; i < 30; i++) assert_int_equal(add(&w, 2), 0); /* too few before that to say more */
    loss_watch_add(&w, INFINITY, true);
    assert_true(w.far == 1 && w.past == 2);
    assert_false(add(&w, 2));
}

/* At the third update in a row that was not made, and the eighth far loss; then at every eighth. */
static void test_exploded(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    for (int i = 0; i < 20; i++) assert_false(add(&w, 2) || loss_watch_exploded(&w));
    for (int i = 1; i <= 24; i++) {
        assert_true(add(&w, 9));
        assert_int_equal(loss_watch_exploded(&w), i % 8 == 0);
    }
    for (int i = 0; i < 20; i++) add(&w, 2);
    assert_true(w.far == 0 && w.skips == 0);
    add(&w, 9); /* far, but not skipped */
    loss_watch_add(&w, 2, true);
    loss_watch_add(&w, NAN, false);
    assert_true(!loss_watch_exploded(&w) && w.far == 3 && w.skips == 2);
    loss_watch_add(&w, 2, true);
    assert_true(loss_watch_exploded(&w) && w.far == 4 && w.skips == 3);
    add(&w, 9);
    assert_true(!loss_watch_exploded(&w) && w.far == 5 && w.skips == 0);
}

/* Five wild steps and three good ones: the median of eight is still far above, but nothing is lost. */
static void test_on_its_way_back(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    for (int i = 0; i < 20; i++) assert_false(add(&w, 2));
    for (int i = 0; i < 5; i++) assert_true(add(&w, 9));
    for (int i = 0; i < 3; i++) assert_true(add(&w, 2));
    assert_true(w.far == 8 && !loss_watch_exploded(&w));
    assert_true(add(&w, 2)); /* the median of four and four */
    assert_false(add(&w, 2));
}

/* Before the eighth nothing is far; then the eight are the past. */
static void test_first_steps(void **state)
{
    (void)state;
    loss_watch w = {.taken = 0};
    for (int i = 0; i < 7; i++) assert_false(add(&w, 3 + (i == 4 ? 100 : 0)));
    assert_true(add(&w, 50));
    assert_true(w.past == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steady),
                                       cmocka_unit_test(test_falling),
                                       cmocka_unit_test(test_falls_then_explodes),
                                       cmocka_unit_test(test_spike_is_over_at_once),
                                       cmocka_unit_test(test_creeps_up_and_stays),
                                       cmocka_unit_test(test_skipped),
                                       cmocka_unit_test(test_exploded),
                                       cmocka_unit_test(test_on_its_way_back),
                                       cmocka_unit_test(test_first_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
