/* How units are cut. A unit is padded to a whole number of segments, a number that the ranks divide; each rank's
 * slice is as many segments as every other's. Where a segment begins does not depend on the ranks, so what is
 * computed of one segment, as the sum of its squares, is the same on any number of them. */
#ifndef REMLA_OPTIM_SHARD_LAYOUT_H
#define REMLA_OPTIM_SHARD_LAYOUT_H
#include "model/units/param_table.h"

typedef struct shard_layout {
    int num_units, ranks, rank;
    int64_t *segment;  /* (units) elements of a segment, a multiple of 16: 64 bytes at least */
    int64_t *segments; /* (units) of the padded unit, a multiple of ranks */
    int64_t *first;    /* (units+1) segments of the units before; the last entry is that of all units */
} shard_layout;

/* The lists are the caller's until shard_layout_free. */
void shard_layout_init(shard_layout *l, const param_table *t, int ranks, int rank);
void shard_layout_free(shard_layout *l);

static inline int64_t shard_layout_padded(const shard_layout *l, int u)
{
    return l->segment[u] * l->segments[u];
}

/* Elements of a slice. */
static inline int64_t shard_layout_slice(const shard_layout *l, int u)
{
    return l->segment[u] * (l->segments[u] / l->ranks);
}

#endif
