/* In a build without CUDA device_open says so, and nothing else works on a device. */
#include "tests/support/check.h"
#include "base/arena.h"
#include "base/device.h"
#include <string.h>

static void test_open(void **state)
{
    (void)state;
    message why;
    device *d = (device *)&why;
    assert_int_not_equal(device_open(&d, 0, &why), OK);
    assert_null(d);
    assert_non_null(strstr(why.text, "built without CUDA"));
    device_close(d);
}

static void in_its_memory(void *context)
{
    arena a = {.name = "weights", .device = context};
    arena_reserve(&a, 100);
}

static void beside_it(void *context)
{
    arena a = {.name = "weights", .device = context, .pinned = true};
    arena_reserve(&a, 100);
}

static void test_refused(void **state)
{
    (void)state;
    check_stops(in_its_memory, state, ERR_BUG, "device memory for the weights arena");
    check_stops(beside_it, state, ERR_BUG, "pinned memory for the weights arena");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_open), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
