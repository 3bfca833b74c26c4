/* Shares are counted: after every prefix no source is a whole sample away from its share, after a period it
 * has it exactly, and any position far away fits what was counted near. */
#include "data/mixture.h"
#include "tests/support/draw.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t state = 1;
static int draw(int n) { return (int)draw_below(&state, (uint32_t)n); }

static mixture open_weights(const char *const *weight, int sources)
{
    mixture m;
    message why = {""};
    if (mixture_open(&m, "data.train", weight, sources, &why) != OK) fail_msg("%s", why.text);
    return m;
}

/* From position 0 on: whose turn, which of its turns, and every share. */
static void expect_shares(const mixture *m, int64_t positions)
{
    int64_t *had = calloc((size_t)m->sources, sizeof *had);
    for (int64_t p = 0; p < positions; p++) {
        int source;
        uint64_t index;
        mixture_at(m, (uint64_t)p, &source, &index);
        assert_in_range(source, 0, m->sources - 1);
        assert_int_equal(index, had[source]);
        assert_true(mixture_position(m, source, index) == (uint64_t)p);
        had[source]++;
        for (int i = 0; i < m->sources; i++) {
            const int64_t behind = m->weight[i] * (p + 1) - m->period * had[i];
            if (!(behind < m->period && -behind < m->period))
                fail_msg("source %d of %d is %d/%d samples behind after %d positions", i, m->sources,
                         (int)behind, (int)m->period, (int)p + 1);
        }
        if ((p + 1) % m->period == 0)
            for (int i = 0; i < m->sources; i++) assert_int_equal(had[i], (p + 1) / m->period * m->weight[i]);
    }
    free(had);
}

static void test_shares(void **ctx)
{
    (void)ctx;
    for (int round = 0; round < 400; round++) {
        char text[12][16];
        const char *weight[12];
        const int sources = 1 + draw(12), most = round % 2 ? 5 : 100;
        for (int i = 0; i < sources; i++) {
            snprintf(text[i], sizeof text[i], "%d", 1 + draw(most));
            weight[i] = text[i];
        }
        mixture m = open_weights(weight, sources);
        expect_shares(&m, m.period + 20);
        mixture_close(&m);
        assert_null(m.source);
    }
    /* For these the plain rule, the source that is furthest behind, errs by 1.26 samples. */
    const char *const hard[] = {"8", "100", "2", "13", "3", "100", "100", "8"};
    mixture m = open_weights(hard, 8);
    expect_shares(&m, 2 * m.period);
    mixture_close(&m);
}

static void expect_weights(const char *const *weight, int sources, const int64_t *want)
{
    mixture m = open_weights(weight, sources);
    int64_t sum = 0;
    for (int i = 0; i < sources; i++) {
        assert_int_equal(m.weight[i], want[i]);
        sum += want[i];
    }
    assert_int_equal(m.period, sum);
    mixture_close(&m);
}

static void test_weights(void **ctx)
{
    (void)ctx;
    expect_weights((const char *const[]){"1"}, 1, (const int64_t[]){1});
    expect_weights((const char *const[]){"6.50"}, 1, (const int64_t[]){1});
    expect_weights((const char *const[]){"6", "9"}, 2, (const int64_t[]){2, 3});
    expect_weights((const char *const[]){"0.70", "0.15", "0.08", ".06", "0.01"}, 5,
                   (const int64_t[]){70, 15, 8, 6, 1});
    expect_weights((const char *const[]){"0.1", "3"}, 2, (const int64_t[]){1, 30});
    expect_weights((const char *const[]){"0.000001", "0.999999"}, 2, (const int64_t[]){1, 999999});
    expect_weights((const char *const[]){"100000000000000", "100000000000000"}, 2, (const int64_t[]){1, 1});
    expect_weights((const char *const[]){"1.00000000000000", "2."}, 2, (const int64_t[]){1, 2});
}

static void test_refusals(void **ctx)
{
    (void)ctx;
    static const char *const bad[] = {
        "0", "0.0", "", ".", "-1", "1e3", "1.2.3", "nan", "0x10", " 1", "1234567890123456"};
    mixture m;
    message why;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *const weight[] = {"1", bad[i]};
        assert_int_equal(mixture_open(&m, "data.train", weight, 2, &why), ERR_USAGE);
        if (!strstr(why.text, "data.train: the weight ")) fail_msg("%s: %s", bad[i], why.text);
        assert_null(m.weight);
    }
    static const char *const uneven[][2] = {
        {"1", "1048576"}, {"0.0000001", "1"}, {"0.00000000000001", "100000000000000"}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mixture_open(&m, "data.train", uneven[i], 2, &why), ERR_USAGE);
        assert_non_null(strstr(why.text, "give them with fewer digits"));
    }
    static const char *many[MIXTURE_SOURCES + 1];
    for (int i = 0; i <= MIXTURE_SOURCES; i++) many[i] = "1";
    assert_int_equal(mixture_open(&m, "data.train", many, MIXTURE_SOURCES + 1, &why), ERR_USAGE);
    assert_int_equal(mixture_open(&m, "data.train", many, MIXTURE_SOURCES, &why), OK);
    mixture_close(&m);
}

/* The same turn of another period. */
static void test_far_positions(void **ctx)
{
    (void)ctx;
    const char *const weight[] = {"3", "4", "1"};
    mixture m = open_weights(weight, 3);
    for (uint64_t turn = 0; turn < 8; turn++) {
        int near, far;
        uint64_t index, far_index;
        const uint64_t periods = (UINT64_C(1) << 61) - 1; /* positions around 2^64 */
        mixture_at(&m, turn, &near, &index);
        mixture_at(&m, periods * 8 + turn, &far, &far_index);
        assert_int_equal(far, near);
        assert_true(far_index == periods * (uint64_t)m.weight[near] + index);
        assert_true(mixture_position(&m, near, far_index) == periods * 8 + turn);
    }
    assert_true(mixture_position(&m, 2, UINT64_C(1) << 61) == UINT64_MAX);
    mixture_close(&m);
}

/* The order of turns is part of what a position means. */
static void test_frozen(void **ctx)
{
    (void)ctx;
    static const int want[] = {1, 0, 1, 0, 1, 0, 1, 2};
    const char *const weight[] = {"3", "4", "1"};
    mixture m = open_weights(weight, 3);
    for (int p = 0; p < 8; p++) assert_int_equal(m.source[p], want[p]);
    mixture_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),        cmocka_unit_test(test_weights), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_far_positions), cmocka_unit_test(test_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
