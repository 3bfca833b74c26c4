/* A random permutation of [0,n) that is computed, not stored: a balanced Feistel network permutes the
 * numbers of 2w bits, the smallest such power of two that holds n, and numbers outside [0,n) are permuted
 * again until they fall inside. The power of two is at most four times n, so that takes four rounds on
 * average at most. */
#include "data/order.h"
#include "base/status.h"

enum { ROUNDS = 8 };

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195): a bijection in
 * which every bit of x moves about half of the result's. */
static uint64_t scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The generator that the finaliser belongs to: its k-th number. */
static uint64_t splitmix(uint64_t seed, uint64_t k) { return scramble(seed + (k + 1) * 0x9e3779b97f4a7c15u); }

static uint64_t feistel(uint64_t x, const uint64_t *key, int w)
{
    const uint64_t mask = ((uint64_t)1 << w) - 1;
    uint64_t left = x >> w, right = x & mask;
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t mixed = left ^ (scramble(right ^ key[round]) & mask);
        left = right;
        right = mixed;
    }
    return left << w | right;
}

int64_t order_permute(uint64_t seed, uint64_t epoch, int64_t i, int64_t n)
{
    REQUIRE(n > 0 && i >= 0 && i < n, "sample %lld of %lld", (long long)i, (long long)n);
    int w = 1;
    while (2 * w < 64 && ((uint64_t)n - 1) >> (2 * w)) w++;
    uint64_t key[ROUNDS];
    /* Scrambled first: else seeds that differ by a step of the generator would share their epochs. */
    const uint64_t stream = splitmix(scramble(seed), epoch);
    for (int round = 0; round < ROUNDS; round++) key[round] = splitmix(stream, (uint64_t)round);
    uint64_t x = (uint64_t)i;
    do x = feistel(x, key, w);
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

int64_t order_window(uint64_t seed, uint64_t position, int64_t windows)
{
    REQUIRE(windows > 0, "no windows");
    const uint64_t n = (uint64_t)windows;
    return order_permute(seed, position / n, (int64_t)(position % n), windows);
}
