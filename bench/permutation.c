/* bench/permutation [MOST]: counts that the order of training is a permutation for every number of samples
 * from 1 to MOST (65536), each with a seed and epoch of its own, and that its inverse undoes it. The tests
 * count a part of these. Also measures the time of one position. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"
#include "data/order.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the first place that goes out of range, to a sample already taken, or does not come back; -1: none.
 */
static int64_t first_wrong(int64_t n, unsigned char *seen)
{
    memset(seen, 0, (size_t)n);
    const uint64_t seed = (uint64_t)n, epoch = (uint64_t)n % 5;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = order_permute(seed, epoch, i, n);
        if (at < 0 || at >= n || seen[at]++ || order_unpermute(seed, epoch, at, n) != i) return i;
    }
    return -1;
}

static int64_t wrong_sizes(int64_t most)
{
    int64_t wrong = 0;
#pragma omp parallel reduction(+ : wrong)
    {
        unsigned char *seen = memory_new(most, 1, "samples");
#pragma omp for schedule(dynamic, 16)
        for (int64_t n = most; n >= 1; n--) {
            const int64_t i = first_wrong(n, seen);
            if (i >= 0) printf("n %lld: place %lld is wrong\n", (long long)n, (long long)i);
            wrong += i >= 0;
        }
        free(seen);
    }
    return wrong;
}

static double nanoseconds_each(int64_t n)
{
    enum { PLACES = 1 << 20 };
    const double start = clock_seconds();
    int64_t sum = 0;
    for (int64_t i = 0; i < PLACES; i++) sum += order_permute(42, 1, i % n, n);
    const double seconds = clock_seconds() - start;
    return sum < 0 ? 0 : 1e9 * seconds / PLACES; /* the sum keeps the loop */
}

int main(int argc, char **argv)
{
    const int64_t most = argc > 1 ? atoll(argv[1]) : 65536;
    if (most < 1) die(ERR_USAGE, "usage: permutation [MOST]");
    const double start = clock_seconds();
    const int64_t wrong = wrong_sizes(most);
    printf("n from 1 to %lld: %lld places and their inverses, %lld sizes wrong, %.0f s on %d threads\n",
           (long long)most, (long long)(most * (most + 1) / 2), (long long)wrong, clock_seconds() - start,
           omp_get_max_threads());
    static const int64_t sizes[] = {1 << 20, (1 << 20) + 1, 1464843, (int64_t)1 << 40};
    for (int k = 0; k < 4; k++)
        printf("one position of %lld samples: %.0f ns\n", (long long)sizes[k], nanoseconds_each(sizes[k]));
    return wrong ? ERR_BUG : OK;
}
