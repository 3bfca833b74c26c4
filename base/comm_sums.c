/* Sums over ranks. Blocks stay in the first-level cache, so that every part is read from memory once.
 *
 * The tree is a binary counter. Part p carries into the levels below as a 1 does that is added to p:
 *
 *     p    level[0]   level[1]   level[2]
 *     0    p0
 *     1               p0+p1
 *     2    p2         p0+p1
 *     3                          (p0+p1)+(p2+p3)
 *     4    p4                    (p0+p1)+(p2+p3)
 *
 * In the end the levels that are left are added, the smallest first. */
#include "base/comm_sums.h"
#include "base/bf16.h"
#include <string.h>

enum { BLOCK = 1024, LEVELS = 17 };

void comm_sums_round(uint16_t *half, const float *full, int64_t n)
{
    for (int64_t i = 0; i < n; i++) half[i] = bf16_of(full[i]);
}

/* out (n) = a part from element `from` on, as floats. */
static void load(float *out, const void *part, int64_t from, int64_t n, dtype sent)
{
    if (sent == F32) {
        memcpy(out, (const float *)part + from, sizeof(float) * (size_t)n);
        return;
    }
    const uint16_t *half = (const uint16_t *)part + from;
    for (int64_t i = 0; i < n; i++) out[i] = bf16_float(half[i]);
}

static void add(float *restrict sum, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += x[i];
}

/* Leaves the sum of a block in level[0]. */
static void in_order(float (*level)[BLOCK], const void *const *part, int parts, int64_t from, int64_t n,
                     dtype sent)
{
    load(level[0], part[0], from, n, sent);
    for (int p = 1; p < parts; p++) {
        load(level[1], part[p], from, n, sent);
        add(level[0], level[1], n);
    }
}

/* The same by the tree. */
static void pairwise(float (*level)[BLOCK], const void *const *part, int parts, int64_t from, int64_t n,
                     dtype sent)
{
    for (int p = 0; p < parts; p++) {
        int to = 0; /* the level where part p ends up */
        while (p >> to & 1) to++;
        load(level[to], part[p], from, n, sent);
        for (int l = 0; l < to; l++) add(level[to], level[l], n);
    }
    int sum = 0;
    while (!(parts >> sum & 1)) sum++;
    for (int l = sum + 1; parts >> l; l++) {
        if (!(parts >> l & 1)) continue;
        add(level[l], level[sum], n);
        sum = l;
    }
    if (sum > 0) memcpy(level[0], level[sum], sizeof *level);
}

void comm_sums_f32(float *out, const void *const *part, int parts, int64_t n, const reduction *how)
{
    float level[LEVELS][BLOCK];
    REQUIRE(parts >= 1 && parts <= COMM_RANKS_MAX, "%d parts", parts);
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t count = n - from < BLOCK ? n - from : BLOCK;
        (how->pairwise ? pairwise : in_order)(level, part, parts, from, count, how->sent);
        memcpy(out + from, level[0], sizeof(float) * (size_t)count);
    }
}
