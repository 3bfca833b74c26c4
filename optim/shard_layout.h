/* How units are cut. A unit is padded to a whole number of segments that the ranks divide, and each rank's
 * slice is as many segments as every other's. Where a segment begins does not depend on the ranks, so what is
 * computed of one segment, as the sum of its squares, is the same on any number of them. */
#ifndef REMLA_OPTIM_SHARD_LAYOUT_H
#define REMLA_OPTIM_SHARD_LAYOUT_H
#include "model/units/param_table.h"

typedef struct shard_layout {
    int num_units, ranks, rank;
    int64_t *padded;   /* (units) elements */
    int64_t *segments; /* (units) of the padded unit, a multiple of ranks; a segment is a multiple of 16
                          elements */
    int64_t *first;    /* (units+1) segments of the units before, without those that are there only so that
                          ranks divide them: the same for any number of ranks. The last entry is that of all
                          units */
} shard_layout;

/* Lists are given back by shard_layout_free. */
void shard_layout_init(shard_layout *l, const param_table *t, int ranks, int rank);
void shard_layout_free(shard_layout *l);

/* Elements of a slice. */
static inline int64_t shard_layout_slice(const shard_layout *l, int u) { return l->padded[u] / l->ranks; }

#endif
