/* The order must be a permutation for every n, each epoch and seed must have its own, and none may be
 * shuffled worse than by a real shuffle. The oracle is counting. (bench/permutation counts for every n up to
 * 2^16.) */
#include "data/order.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect_permutation(uint64_t seed, uint64_t epoch, int64_t n, int64_t window, unsigned char *seen)
{
    memset(seen, 0, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = order_permute_near(seed, epoch, i, n, window);
        if (at < 0 || at >= n || seen[at]++)
            fail_msg("seed %d, epoch %d, n %d: %d goes to %d, out of range or taken", (int)seed, (int)epoch,
                     (int)n, (int)i, (int)at);
    }
}

static void test_every_small_size(void **state)
{
    (void)state;
    static unsigned char seen[4096];
    for (int64_t n = 1; n <= 4096; n++) expect_permutation(42, (uint64_t)n % 3, n, 0, seen);
}

/* Where the number of bits changes; a rounded logarithm has gone wrong at 2^16+1 elsewhere. */
static void test_around_powers_of_two(void **state)
{
    (void)state;
    unsigned char *seen = malloc((1 << 20) + 1);
    assert_non_null(seen);
    for (int bits = 13; bits <= 20; bits++)
        for (int64_t n = (1 << bits) - 1; n <= (1 << bits) + 1; n++) expect_permutation(7, 1, n, 0, seen);
    free(seen);
}

static void test_inverse(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 1000, 65537, ((int64_t)1 << 40) + 1, INT64_MAX};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (int64_t i = 0; i < sizes[k] && i < 1000; i++)
            assert_int_equal(order_unpermute(5, k, order_permute(5, k, i, sizes[k]), sizes[k]), i);
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

/* ---- beside a real shuffle ----------------------------------------------------------------------------- */

static uint64_t generator;

/* Fisher and Yates, with a generator that has nothing to do with ours (xorshift64*). */
static void shuffle(int64_t *at, int64_t n)
{
    for (int64_t i = 0; i < n; i++) at[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        generator ^= generator >> 12;
        generator ^= generator << 25;
        generator ^= generator >> 27;
        const int64_t j = (int64_t)((generator * 0x2545f4914f6cdd1du >> 32) * (uint64_t)(i + 1) >> 32);
        const int64_t kept = at[i];
        at[i] = at[j];
        at[j] = kept;
    }
}

/* Chi-square over 64 bins of how far apart two samples are that are trained on `lag` places apart. */
static double spread(const int64_t *at, int64_t n, int64_t lag)
{
    double count[64] = {0}, chi = 0;
    for (int64_t i = 0; i < n; i++) count[(at[(i + lag) % n] - at[i] + n) % n * 64 / n]++;
    const double expected = (double)n / 64;
    for (int b = 0; b < 64; b++) chi += (count[b] - expected) * (count[b] - expected) / expected;
    return chi;
}

/* Means over many permutations: of ours no larger than of real shuffles, but for what chance does to two such
 * means (the chi-square of 63 degrees of freedom has a deviation of 11.2; three deviations of a difference).
 */
static void test_neighbours(void **state)
{
    (void)state;
    enum { MOST = 6400, TRIES = 200 };
    static int64_t ours[MOST], real[MOST];
    static const int64_t sizes[] = {640, 1025, 4096, 6400}, lags[] = {1, 2, 8};
    generator = 88172645463325252u;
    for (int k = 0; k < 4; k++) {
        double sum[2][3] = {{0}};
        for (uint64_t try = 0; try < TRIES; try++) {
            for (int64_t i = 0; i < sizes[k]; i++) ours[i] = order_permute(try / 4, try % 4, i, sizes[k]);
            shuffle(real, sizes[k]);
            for (int l = 0; l < 3; l++) {
                sum[0][l] += spread(ours, sizes[k], lags[l]) / TRIES;
                sum[1][l] += spread(real, sizes[k], lags[l]) / TRIES;
            }
        }
        for (int l = 0; l < 3; l++)
            if (!(sum[0][l] < sum[1][l] + 3 * 11.2 * 1.414 / 14.1)) /* 14.1: the root of TRIES */
                fail_msg("n %d, lag %d: mean chi-square %.2f, of real shuffles %.2f", (int)sizes[k],
                         (int)lags[l], sum[0][l], sum[1][l]);
    }
}

/* ---- with a locality window ---------------------------------------------------------------------------- */

static void test_near_is_a_permutation(void **state)
{
    (void)state;
    static unsigned char seen[3000];
    for (int64_t n = 1; n <= 150; n++)
        for (int64_t window = 1; window <= n + 2; window++)
            expect_permutation(42, (uint64_t)n % 3, n, window, seen);
    static const int64_t windows[] = {1, 15, 16, 17, 100, 160, 999, 1000, 2998, 2999, 3000, 1000000000000};
    for (size_t k = 0; k < sizeof windows / sizeof windows[0]; k++)
        expect_permutation(k, 1, 2999, windows[k], seen);
}

/* The samples of `window` places are those of at most 18 runs (16, and one cut at each end), and these runs
 * lie all over the data. */
static void test_near_stays_near(void **state)
{
    (void)state;
    enum { N = 10007, WINDOW = 320, RUN = 20 };
    int64_t far = 0;
    for (int64_t first = 0; first < N; first += WINDOW) {
        unsigned char run[N / RUN + 1] = {0};
        int runs = 0, order = 0;
        for (int64_t i = first; i < first + WINDOW && i < N; i++) {
            const int64_t at = order_permute_near(9, 2, i, N, WINDOW);
            runs += !run[at / RUN]++;
            order += i > first && at > order_permute_near(9, 2, i - 1, N, WINDOW);
            far += at > N / 2;
        }
        assert_in_range(runs, 1, 18);
        if (first + WINDOW <= N) {
            assert_in_range(order, WINDOW * 2 / 5, WINDOW * 3 / 5); /* shuffled inside */
            assert_in_range(far, 1, N);                             /* no window keeps to one half */
        }
        far = 0;
    }
}

/* ---- frozen -------------------------------------------------------------------------------------------- */

/* A run that goes on with another build must see the same order: these values are part of the checkpoint
 * format. */
static void test_frozen(void **state)
{
    (void)state;
    static const int64_t want[] = {147, 611, 81, 315}, want_next[] = {169, 415, 966, 529};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(order_permute(42, 0, 996 + i, 1000), want[i]);
        assert_int_equal(order_permute(42, 1, i, 1000), want_next[i]);
    }
    assert_int_equal(order_seed(42, 0), 42);
    assert_true(order_seed(42, 1) == 5139283748462763858u);
    static const int64_t near[] = {5, 104, 275, 777};
    for (int i = 0; i < 4; i++) assert_int_equal(order_permute_near(42, 1, i, 1000, 64), near[i]);
    assert_int_equal(order_permute_near(42, 0, 0, 1007, 100), 700);
    assert_int_equal(order_permute_near(42, 0, 500, 1007, 100), 746);
    assert_int_equal(order_permute_near(42, 0, 1006, 1007, 100), 482);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_size),
        cmocka_unit_test(test_around_powers_of_two),
        cmocka_unit_test(test_inverse),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_seeds_and_epochs_differ),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_near_is_a_permutation),
        cmocka_unit_test(test_near_stays_near),
        cmocka_unit_test(test_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
