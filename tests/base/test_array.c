/* Growing arrays: elements stay, the capacity is at least what was requested, and adding one by one rarely
 * moves the array. */
#include "base/array.h"
#include "tests/support/check.h"
#include <stdlib.h>

static void test_growth(void **state)
{
    (void)state;
    int64_t *data = NULL, capacity = 0;
    int moves = 0;
    for (int64_t i = 0; i < 100000; i++) {
        const int64_t before = capacity;
        data = array_reserve(data, &capacity, i + 1, sizeof *data);
        assert_true(capacity >= i + 1);
        moves += capacity != before;
        data[i] = i;
    }
    assert_true(moves < 30);
    for (int64_t i = 0; i < 100000; i++) assert_int_equal(data[i], i);
    const int64_t *same = array_reserve(data, &capacity, 5, sizeof *data);
    assert_ptr_equal(same, data);
    data = array_reserve(data, &capacity, 1000000, sizeof *data);
    assert_true(capacity >= 1000000);
    assert_int_equal(data[99999], 99999);
    free(data);
}

static void too_much(void *context)
{
    (void)context;
    int64_t capacity = 0;
    array_reserve(NULL, &capacity, INT64_MAX, 16);
}

static void test_overflow(void **state)
{
    (void)state;
    check_stops(too_much, NULL, ERR_DEVICE, "no memory for 9223372036854775807 times 16 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
