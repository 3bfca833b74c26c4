/* Made-up times of ranks: who is named, when, and how often. */
#include "train/stragglers.h"
#include "tests/support/check.h"
#include <string.h>

enum { RANKS = 4, MS = 1000000 };

/* Takes a window of steps in which rank `late` needs `ms`, and `data` of them for its data; the others need
 * about `usual`. Returns how many sentences there were, and the last one. */
static int window(stragglers *s, int late, int64_t usual, int64_t ms, int64_t data, message *said)
{
    int sentences = 0;
    said->text[0] = 0;
    for (int step = 0; step < STRAGGLERS_STEPS; step++) {
        int64_t own[RANKS], waited[RANKS] = {0};
        message news;
        for (int r = 0; r < s->ranks; r++) own[r] = (usual + step % 3) * MS;
        own[late] = ms * MS;
        waited[late] = data * MS;
        if (!stragglers_step(s, own, waited, comm_self(), &news)) continue;
        sentences++;
        *said = news;
    }
    return sentences;
}

static void test_one_is_slow(void **state)
{
    (void)state;
    stragglers s;
    message said;
    stragglers_init(&s, RANKS);
    assert_int_equal(window(&s, 2, 300, 302, 0, &said), 0);
    assert_int_equal(window(&s, 2, 300, 390, 40, &said), 1);
    assert_string_equal(said.text, "rank 2 on this host is slow: it takes 0.39 s for its own part of a step, "
                                   "0.04 s of them waiting for its data; the median of the ranks is 0.30 s");
    for (int i = 0; i < 3; i++) assert_int_equal(window(&s, 2, 300, 345, 40, &said), 0); /* said once */
    assert_int_equal(window(&s, 1, 300, 500, 0, &said), 1); /* both causes in one sentence */
    assert_non_null(strstr(said.text, "rank 1 on this host is slow"));
    assert_non_null(strstr(said.text, "; rank 2 on this host is not slow any more"));
    stragglers_free(&s);
}

/* Neither a step that took long nor what costs next to nothing. */
static void test_not_worth_a_line(void **state)
{
    (void)state;
    stragglers s;
    message news;
    stragglers_init(&s, RANKS);
    assert_int_equal(window(&s, 0, 10, 59, 0, &news), 0);     /* six times, but less than 50 ms */
    assert_int_equal(window(&s, 0, 1000, 1150, 0, &news), 0); /* 150 ms, but less than 1.2 times */
    for (int step = 0; step < 2 * STRAGGLERS_STEPS; step++) {
        const int64_t own[RANKS] = {300 * MS, step % 3 ? 300 * MS : 900 * MS, 300 * MS, 300 * MS};
        assert_false(stragglers_step(&s, own, own, comm_self(), &news));
    }
    stragglers_free(&s);
}

/* Of two ranks the faster one is what the other is compared with. */
static void test_two_ranks(void **state)
{
    (void)state;
    stragglers s;
    message said;
    stragglers_init(&s, 2);
    assert_int_equal(window(&s, 1, 100, 200, 0, &said), 1);
    assert_non_null(strstr(said.text, "rank 1 on"));
    assert_null(strstr(said.text, "rank 0 on"));
    stragglers_free(&s);
    stragglers_init(&s, 2);
    assert_int_equal(window(&s, 0, 100, 200, 0, &said), 1);
    assert_non_null(strstr(said.text, "rank 0 on"));
    stragglers_free(&s);
}

/* With one rank there is nobody to compare with. */
static void test_one_rank(void **state)
{
    (void)state;
    stragglers s;
    message said;
    stragglers_init(&s, 1);
    assert_int_equal(window(&s, 0, 0, 5000, 0, &said), 0);
    stragglers_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_is_slow),
        cmocka_unit_test(test_not_worth_a_line),
        cmocka_unit_test(test_two_ranks),
        cmocka_unit_test(test_one_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
