/* Lay-out code gives the same places measured and real, and one byte too many is noticed. */
#include "base/arena.h"
#include "tests/support/check.h"
#include <string.h>

/* Cuts odd sizes, so that rounding matters. Returns how much was cut. */
static int64_t lay_out(arena *a, tensor *first, char **bytes, tensor *last)
{
    *first = arena_tensor(a, F32, "first", 3, 5);
    *bytes = arena_bytes(a, 1);
    *last = arena_tensor(a, F64, "last", 2, 1, 7);
    return a->used;
}

static void test_two_runs(void **state)
{
    (void)state;
    arena a = {.name = "test"};
    tensor first, last;
    char *bytes;
    const int64_t need = lay_out(&a, &first, &bytes, &last);
    assert_int_equal(need, 64 + 64 + 128); /* 60, 1 and 112 bytes */
    assert_null(first.data);
    assert_null(bytes);
    assert_null(last.data);
    assert_int_equal(last.rank, 3);
    assert_int_equal(last.dim[2], 7);

    arena_reserve(&a, need);
    assert_int_equal(a.used, 0);
    assert_int_equal(lay_out(&a, &first, &bytes, &last), need);
    assert_ptr_equal(first.data, a.base);
    assert_ptr_equal(bytes, a.base + 64);
    assert_ptr_equal(last.data, a.base + 128);
    assert_int_equal((uintptr_t)a.base % 64, 0);
    assert_string_equal(last.name, "last");
    memset(a.base, 1, (size_t)need);

    arena_release(&a);
    assert_null(a.base);
    assert_int_equal(a.used, 0);
    assert_string_equal(a.name, "test");
    arena_release(&a); /* twice is harmless */
    arena_reserve(&a, 0); /* a model without such memory */
    arena_release(&a);
}

/* Beyond 4 GiB, counted only. */
static void test_large(void **state)
{
    (void)state;
    arena a = {.name = "large"};
    arena_tensor(&a, F32, "x", 70000, 70000);
    assert_true(a.used == INT64_C(19600000000));
}

static void cut_too_much(void *context)
{
    (void)context;
    arena a = {.name = "small"};
    arena_reserve(&a, 128);
    arena_bytes(&a, 128);
    arena_bytes(&a, 1);
}

static void reserve_twice(void *context)
{
    (void)context;
    arena a = {.name = "small"};
    arena_reserve(&a, 128);
    arena_reserve(&a, 128);
}

static void reserve_too_much(void *context)
{
    (void)context;
    arena a = {.name = "weights"};
    arena_reserve(&a, INT64_C(1) << 60);
}

static void test_stops(void **state)
{
    (void)state;
    check_stops(cut_too_much, NULL, ERR_BUG, "arena small: 192 bytes cut of 128");
    check_stops(reserve_twice, NULL, ERR_BUG, "arena small is reserved already");
    check_stops(reserve_too_much, NULL, ERR_DEVICE, "no memory for the weights arena");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_runs),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
