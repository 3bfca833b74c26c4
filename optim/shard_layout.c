/* Chooses segments: many enough that any number of ranks gets equal slices of a large unit with little
 * padding, and few enough that the padding of a small unit, at most 15 elements a segment, stays small beside
 * it. */
#include "optim/shard_layout.h"
#include "base/memory.h"
#include <stdlib.h>

enum { FEWEST = 64, MOST = 4096, SMALLEST = 1024, MULTIPLE = 16 };

static int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* A power of two; segments of more than FEWEST have SMALLEST elements at least. */
static int64_t segments_of(int64_t numel)
{
    int64_t segments = MOST;
    while (segments > FEWEST && numel / segments < SMALLEST) segments /= 2;
    return segments;
}

void shard_layout_init(shard_layout *l, const param_table *t, int ranks, int rank)
{
    const int n = t->num_units;
    *l = (shard_layout){.num_units = n, .ranks = ranks, .rank = rank};
    l->padded = memory_new(n, sizeof *l->padded, "the layout of %d units", n);
    l->segments = memory_new(n, sizeof *l->segments, "the layout of %d units", n);
    l->first = memory_new(n + 1, sizeof *l->first, "the layout of %d units", n);
    for (int u = 0; u < n; u++) {
        const int64_t segments = segments_of(t->unit_numel[u]),
                      segment = up((t->unit_numel[u] + segments - 1) / segments, MULTIPLE);
        l->segments[u] = up(segments, ranks);
        l->padded[u] = segment * l->segments[u];
        l->first[u + 1] = l->first[u] + segments;
    }
}

void shard_layout_free(shard_layout *l)
{
    free(l->padded);
    free(l->segments);
    free(l->first);
    *l = (shard_layout){0};
}
