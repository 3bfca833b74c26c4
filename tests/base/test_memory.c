/* Allocations are zero, and have an address even for a count of zero. Running out of memory stops the job as
 * a fault of the machine, in one sentence. */
#include "base/memory.h"
#include "tests/support/check.h"
#include <stdlib.h>

static void test_new(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    for (int round = 0; round < 3; round++) { /* what was given back dirty comes zero again */
        int64_t *data = memory_new(COUNT, sizeof *data, "a test");
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(data[i], 0);
            data[i] = -1;
        }
        free(data);
    }
    void *none = memory_new(0, 16, "a test");
    assert_non_null(none);
    free(none);
}

static void test_check(void **state)
{
    (void)state;
    int there;
    assert_ptr_equal(memory_check(&there, "a test"), &there);
}

/* SIZE_MAX / 2 bytes: no overflow, and more than any machine has. */
static void too_much(void *context)
{
    (void)context;
    memory_new(INT64_MAX, 1, "the %d frames of %s", 7, "a.ds");
}

static void overflow(void *context)
{
    (void)context;
    memory_new(INT64_MAX, 16, "ids");
}

/* A count that has gone below zero must not come out as a small block. */
static void negative(void *context)
{
    (void)context;
    memory_new(-1, 16, "ids");
}

static void nothing_got(void *context)
{
    (void)context;
    memory_check(NULL, "a hash of %s", "a.ds");
}

static void test_stops(void **state)
{
    (void)state;
    check_stops(too_much, NULL, ERR_DEVICE,
                "no memory for the 7 frames of a.ds: 9223372036854775807 times 1 bytes");
    check_stops(overflow, NULL, ERR_DEVICE, "no memory for ids: 9223372036854775807 times 16 bytes");
    check_stops(negative, NULL, ERR_DEVICE, "no memory for ids: -1 times 16 bytes");
    check_stops(nothing_got, NULL, ERR_DEVICE, "no memory for a hash of a.ds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_new), cmocka_unit_test(test_check),
                                       cmocka_unit_test(test_stops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
