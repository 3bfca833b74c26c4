/* The fingerprint against splitmix64's published numbers, and what it must see. */
#include "base/fingerprint.h"
#include "tests/support/check.h"
#include <string.h>

enum { N = 1000 };

static float value(int64_t i) { return (float)(i * 37 % 101) - 50; }

/* The stream of seed 0 begins with these: what zeros add in the first places. */
static void test_published(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu};
    const float zeros[3] = {0};
    assert_true(fingerprint_f32(zeros, 0, 0) == 0);
    for (int64_t i = 0; i < 3; i++) assert_true(fingerprint_f32(zeros, 1, i) == numbers[i]);
    assert_true(fingerprint_f32(zeros, 3, 0) == numbers[0] + numbers[1] + numbers[2]);
    assert_true(fingerprint_f32((const float[]){-0.0f}, 1, 0) != numbers[0]); /* bits count, not values */
}

static void test_parts_add_up(void **state)
{
    (void)state;
    float x[N];
    for (int64_t i = 0; i < N; i++) x[i] = value(i);
    const uint64_t whole = fingerprint_f32(x, N, 5);
    for (int64_t cut = 0; cut <= N; cut += 31)
        assert_true(fingerprint_f32(x + cut, N - cut, 5 + cut) + fingerprint_f32(x, cut, 5) == whole);
}

/* Any single bit, and any two values that have been exchanged. */
static void test_changes(void **state)
{
    (void)state;
    float x[N];
    for (int64_t i = 0; i < N; i++) x[i] = value(i);
    const uint64_t was = fingerprint_f32(x, N, 0);
    for (int64_t bit = 0; bit < 32 * N; bit++) {
        uint32_t bits;
        const float keep = x[bit / 32];
        memcpy(&bits, &keep, sizeof bits);
        bits ^= UINT32_C(1) << bit % 32;
        memcpy(&x[bit / 32], &bits, sizeof bits);
        assert_true(fingerprint_f32(x, N, 0) != was);
        x[bit / 32] = keep;
    }
    for (int64_t i = 1; i < N; i++) {
        const float first = x[0], other = x[i];
        x[0] = other;
        x[i] = first;
        assert_true((fingerprint_f32(x, N, 0) == was) == (first == other));
        x[0] = first;
        x[i] = other;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_parts_add_up),
                                       cmocka_unit_test(test_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
