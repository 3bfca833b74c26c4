/* Laying out twice must give the same places, aligned, apart from each other and within what was reserved. */
#include "tests/support/check.h"
#include "base/arena.h"
#include <string.h>

enum { PIECES = 5 };

static void lay_out(arena *a, char **piece)
{
    const tensor t = arena_tensor(a, F32, "t", 3, 5, 7), half = arena_tensor(a, BF16, "half", 1);
    piece[0] = t.data;
    piece[1] = half.data;
    piece[2] = arena_bytes(a, 0);
    piece[3] = arena_bytes(a, 65);
    piece[4] = arena_bytes(a, 64);
}

static void test_lay_out(void **state)
{
    (void)state;
    static const int64_t bytes[PIECES] = {3 * 5 * 7 * 4, 2, 0, 65, 64};
    char *piece[PIECES];
    arena plan = {.name = "plan"}, a = {.name = "real"};
    lay_out(&plan, piece);
    for (int i = 0; i < PIECES; i++) assert_null(piece[i]);
    arena_reserve(&a, plan.used);
    lay_out(&a, piece);
    assert_int_equal(a.used, plan.used);
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal((uintptr_t)piece[i] % 64, 0);
        assert_true(piece[i] >= a.base && piece[i] + bytes[i] <= a.base + a.size);
        if (i > 0) assert_true(piece[i - 1] + bytes[i - 1] <= piece[i]);
    }
#ifdef REMLA_POISON
    const char fresh = (char)0xff;
#else
    const char fresh = 0;
#endif
    for (int64_t i = 0; i < a.size; i++) assert_int_equal(a.base[i], fresh);
    memset(a.base, 1, (size_t)a.size);
    arena_release(&a);
    assert_null(a.base);
    assert_int_equal(a.used, 0);
    assert_string_equal(a.name, "real");
    arena_reserve(&a, 100); /* may be used again */
    assert_int_equal(a.used, 0);
    arena_release(&a);
    arena_release(&a); /* nothing to give back */
}

/* Beyond what 32 bits count, planned only. */
static void test_large(void **state)
{
    (void)state;
    arena plan = {.name = "plan"};
    arena_tensor(&plan, F32, "x", 70000, 70000);
    assert_true(plan.used == INT64_C(19600000000));
}

static void too_much(void *context)
{
    (void)context;
    arena a = {.name = "small"};
    arena_reserve(&a, 128);
    for (int i = 0; i < 10; i++) arena_bytes(&a, 64);
}

static void twice(void *context)
{
    (void)context;
    arena a = {.name = "step"};
    arena_reserve(&a, 1);
    arena_reserve(&a, 1);
}

static void no_memory(void *context)
{
    (void)context;
    arena a = {.name = "weights"};
    arena_reserve(&a, (int64_t)1 << 60);
}

static void test_refused(void **state)
{
    (void)state;
    check_stops(too_much, NULL, ERR_BUG, "arena small: 192 bytes cut of 128");
    check_stops(twice, NULL, ERR_BUG, "arena step is reserved already");
    check_stops(no_memory, NULL, ERR_DEVICE, "no memory for the weights arena: 1099511627776.0 MiB asked");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lay_out), cmocka_unit_test(test_large),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
