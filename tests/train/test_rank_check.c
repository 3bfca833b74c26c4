/* Which ranks are odd, of the values that they have. */
#include "train/rank_check.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* A letter is a value; `want` marks the odd ranks. */
static const struct {
    const char *values, *want;
} rows[] = {
    {"a", "."},       {"aa", ".."},       {"ab", "xx"},       {"aaa", "..."},     {"aab", "..x"},
    {"baa", "x.."},   {"abc", "xxx"},     {"aabb", "xxxx"},   {"aaba", "..x."},   {"abcd", "xxxx"},
    {"abac", ".x.x"}, {"aabbc", "xxxxx"}, {"aaabb", "...xx"}, {"abbbb", "x...."}, {"aabcaadd", "..xx..xx"},
};

static void test_odd(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t of[8 * 3] = {0}; /* each row of three, of which the first counts */
        bool odd[8];
        int ranks = 0, count = 0;
        for (; rows[i].values[ranks]; ranks++) {
            of[3 * ranks] = (uint64_t)rows[i].values[ranks];
            of[3 * ranks + 1] = (uint64_t)ranks;
            count += rows[i].want[ranks] == 'x';
        }
        assert_int_equal(rank_check_odd(of, 3, ranks, odd), count);
        for (int r = 0; r < ranks; r++) assert_int_equal(odd[r], rows[i].want[r] == 'x');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_odd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
