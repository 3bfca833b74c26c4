/* A random permutation of [0,n) that is computed, not stored. A balanced Feistel network permutes the numbers
 * of 2w bits, where 2^2w is the smallest such power that holds n:
 *
 *     left  right            one of 8 rounds; each is undone by running it backwards,
 *       \   / |              whatever `scramble` is
 *        xor <- scramble(right ^ key)
 *     right  mixed
 *
 * A result outside [0,n) is permuted again until it falls inside (cycle walking), which keeps it a
 * permutation. 2^2w is at most four times n, so that takes four passes on average at most. The keys are made
 * of seed and epoch. */
#include "data/order.h"
#include "base/splitmix.h"
#include "base/status.h"

enum { ROUNDS = 8 };

/* The keys of one epoch, and the bits of half a number, for [0,n). */
typedef struct network {
    uint64_t key[ROUNDS], mask;
    int w;
} network;

static network network_for(uint64_t seed, uint64_t epoch, int64_t n)
{
    network f = {.w = 1};
    while (2 * f.w < 64 && ((uint64_t)n - 1) >> (2 * f.w)) f.w++;
    f.mask = ((uint64_t)1 << f.w) - 1;
    /* Scrambled first: else seeds that differ by a step of the generator would share their epochs. */
    const uint64_t stream = splitmix(splitmix_scramble(seed), epoch);
    for (int round = 0; round < ROUNDS; round++) f.key[round] = splitmix(stream, (uint64_t)round);
    return f;
}

static uint64_t forward(const network *f, uint64_t x)
{
    uint64_t left = x >> f->w, right = x & f->mask;
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t mixed = left ^ (splitmix_scramble(right ^ f->key[round]) & f->mask);
        left = right;
        right = mixed;
    }
    return left << f->w | right;
}

static uint64_t backward(const network *f, uint64_t x)
{
    uint64_t left = x >> f->w, right = x & f->mask;
    for (int round = ROUNDS - 1; round >= 0; round--) {
        const uint64_t mixed = right ^ (splitmix_scramble(left ^ f->key[round]) & f->mask);
        right = left;
        left = mixed;
    }
    return left << f->w | right;
}

int64_t order_permute(uint64_t seed, uint64_t epoch, int64_t i, int64_t n)
{
    REQUIRE(n > 0 && i >= 0 && i < n, "place %lld of %lld", (long long)i, (long long)n);
    const network f = network_for(seed, epoch, n);
    uint64_t x = (uint64_t)i;
    do x = forward(&f, x);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

int64_t order_unpermute(uint64_t seed, uint64_t epoch, int64_t sample, int64_t n)
{
    REQUIRE(n > 0 && sample >= 0 && sample < n, "sample %lld of %lld", (long long)sample, (long long)n);
    const network f = network_for(seed, epoch, n);
    uint64_t x = (uint64_t)sample;
    do x = backward(&f, x);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

/* ---- locality ------------------------------------------------------------------------------------------ */

/* Uses of numbers derived from a seed, beside the seed itself. */
enum { STREAM_RUNS, STREAM_WINDOWS, STREAM_SOURCES };

/* Maps place i of the permuted runs, laid end to end, to a place in the original order. The last run may be
 * shorter than the others, and then shifts the places behind it. */
static int64_t place_in_runs(uint64_t seed, uint64_t epoch, int64_t i, int64_t n, int64_t run)
{
    const int64_t runs = (n + run - 1) / run, last = n - (runs - 1) * run; /* length of the last run */
    const int64_t before_last = order_unpermute(seed, epoch, runs - 1, runs) * run;
    if (i >= before_last && i < before_last + last) return (runs - 1) * run + i - before_last;
    if (i >= before_last) i += run - last;
    return order_permute(seed, epoch, i / run, runs) * run + i % run;
}

int64_t order_permute_near(uint64_t seed, uint64_t epoch, int64_t i, int64_t n, int64_t window)
{
    if (window == 0) return order_permute(seed, epoch, i, n);
    REQUIRE(window > 0 && i >= 0 && i < n, "place %lld of %lld", (long long)i, (long long)n);
    const int64_t at = i / window, first = at * window, size = n - first < window ? n - first : window;
    const uint64_t inside = splitmix(splitmix(seed, STREAM_WINDOWS), epoch);
    i = first + order_permute(inside, (uint64_t)at, i - first, size);
    return place_in_runs(splitmix(seed, STREAM_RUNS), epoch, i, n, (window + 15) / 16);
}

uint64_t order_seed(uint64_t seed, int source)
{
    return source ? splitmix(seed, STREAM_SOURCES + (uint64_t)source - 1) : seed;
}
