/* The order must be a permutation for every n, each epoch and seed must have its own, and none may be
 * obviously unshuffled. The oracle is counting. */
#include "data/order.h"
#include "base/status.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect_permutation(uint64_t seed, uint64_t epoch, int64_t n, unsigned char *seen)
{
    memset(seen, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = order_permute(seed, epoch, i, n);
        if (at < 0 || at >= n || seen[at]++)
            fail_msg("seed %d, epoch %d, n %d: %d goes to %d, out of range or taken", (int)seed, (int)epoch,
                     (int)n, (int)i, (int)at);
    }
}

static void test_every_small_size(void **state)
{
    (void)state;
    static unsigned char seen[4096];
    for (int64_t n = 1; n <= 4096; n++) expect_permutation(42, (uint64_t)n % 3, n, seen);
}

/* Where the number of bits changes; a rounded logarithm has gone wrong at 2^16+1 elsewhere. */
static void test_around_powers_of_two(void **state)
{
    (void)state;
    unsigned char *seen = malloc((1 << 18) + 1);
    assert_non_null(seen);
    for (int bits = 13; bits <= 18; bits++)
        for (int64_t n = (1 << bits) - 1; n <= (1 << bits) + 1; n++) expect_permutation(7, 1, n, seen);
    free(seen);
}

/* Too large to count: stays inside, and 1000 samples do not meet. */
static void test_large(void **state)
{
    (void)state;
    static const int64_t sizes[] = {((int64_t)1 << 32) + 1, ((int64_t)1 << 62) + 1, INT64_MAX};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        static int64_t at[1000];
        for (int i = 0; i < 1000; i++) {
            at[i] = order_permute(42, 0, sizes[k] - 1 - i, sizes[k]);
            assert_true(at[i] >= 0 && at[i] < sizes[k]);
            for (int j = 0; j < i; j++) assert_true(at[i] != at[j]);
        }
    }
}

/* Chi-square over where a sample lands (64 bins, 4096 pairs of seed and epoch) and over the steps between
 * neighbours. With 63 degrees of freedom a fair shuffle exceeds 120 once in fifty thousand tries; the
 * seeds are fixed, so it does always or never. */
static void expect_even(const char *what, const int *count, double expected)
{
    double chi = 0;
    for (int b = 0; b < 64; b++) chi += (count[b] - expected) * (count[b] - expected) / expected;
    if (!(chi < 120)) fail_msg("%s: chi-square %.1f over 64 bins", what, chi);
}

static void test_even(void **state)
{
    (void)state;
    int by_seed[64] = {0}, by_epoch[64] = {0}, steps[64] = {0};
    for (uint64_t s = 0; s < 4096; s++) {
        by_seed[order_permute(s, 0, 3, 6400) / 100]++;
        by_epoch[order_permute(42, s, 3, 6400) / 100]++;
    }
    expect_even("place by seed", by_seed, 64);
    expect_even("place by epoch", by_epoch, 64);
    for (int64_t i = 0; i < 6400; i++) {
        const int64_t step = order_permute(42, 0, (i + 1) % 6400, 6400) - order_permute(42, 0, i, 6400);
        steps[(step + 6400) % 6400 / 100]++;
    }
    expect_even("steps between neighbours", steps, 100);
}

static int equal_places(uint64_t seed_a, uint64_t epoch_a, uint64_t seed_b, uint64_t epoch_b)
{
    int equal = 0;
    for (int64_t i = 0; i < 1000; i++)
        equal += order_permute(seed_a, epoch_a, i, 1000) == order_permute(seed_b, epoch_b, i, 1000);
    return equal;
}

/* Two unrelated permutations share one place on average. */
static void test_seeds_and_epochs_differ(void **state)
{
    (void)state;
    assert_in_range(equal_places(42, 0, 42, 1), 0, 10);
    assert_in_range(equal_places(42, 0, 43, 0), 0, 10);
    assert_in_range(equal_places(42, 1, 43, 0), 0, 10);
    assert_in_range(equal_places(0, 0, 0x9e3779b97f4a7c15u, 0), 0, 10);
    assert_int_equal(equal_places(42, 5, 42, 5), 1000);
}

static void test_position_runs_through_epochs(void **state)
{
    (void)state;
    for (uint64_t position = 0; position < 35; position++)
        assert_int_equal(order_window(42, position, 10),
                         order_permute(42, position / 10, (int64_t)(position % 10), 10));
    int seen[10] = {0};
    for (uint64_t position = 1000000000000000ull; position < 1000000000000010ull; position++)
        seen[order_window(42, position, 10)]++;
    for (int i = 0; i < 10; i++) assert_int_equal(seen[i], 1);
    assert_int_equal(order_window(42, 17, 1), 0);
}

/* A run that goes on with another build must see the same order: these values are part of the checkpoint
 * format. */
static void test_frozen(void **state)
{
    (void)state;
    static const int64_t want[] = {147, 611, 81, 315, 169, 415, 966, 529};
    for (int i = 0; i < 8; i++) assert_int_equal(order_window(42, (uint64_t)(996 + i), 1000), want[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_size),
        cmocka_unit_test(test_around_powers_of_two),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_seeds_and_epochs_differ),
        cmocka_unit_test(test_position_runs_through_epochs),
        cmocka_unit_test(test_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
