/* Private to optim/shards.c and its two halves, shard_weights.c and shard_gradients.c. */
#ifndef REMLA_OPTIM_SHARD_PARTS_H
#define REMLA_OPTIM_SHARD_PARTS_H
#include "optim/shards.h"

/* Lay their half out, in an arena that may be measuring, and free its lists. */
void shard_weights_init(shards *s, arena *a);
void shard_weights_free(shards *s);
void shard_gradients_init(shards *s, arena *a);
void shard_gradients_free(shards *s);

/* This rank's slice of a whole unit, or of its gradient. */
static inline tensor shard_of(const shards *s, const tensor *whole, int u)
{
    const int64_t slice = shard_layout_slice(&s->layout, u);
    return tensor_rows(whole, s->layout.rank * slice, slice);
}

/* Starts to bring the ranks' slices of a unit together in `whole`; `mine` may be the own place in it. With
 * one rank a copy. */
static inline comm_ticket shard_gather(const shards *s, const tensor *whole, const tensor *mine)
{
    return comm_all_gather(s->c, whole->data, mine->data, tensor_numel(mine) * dtype_bytes(mine->type));
}

/* A list with a flat tensor for each unit. */
tensor *shard_list(const shards *s, dtype type, const char *name, bool whole, arena *a);

/* In builds with REMLA_POISON: what lies in a place that is given up becomes NaN, so that who still uses it,
 * or uses it before what comes next is there, shows. */
void shard_poison(const shards *s, const tensor *t);

#endif
