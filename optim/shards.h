/* The parameters of a model in training, and their gradients, cut over the ranks by units (ZeRO):
 *
 *   stage   weights        gradients                     optimizer_update works on
 *   0       whole          whole                         whole units, on every rank
 *   1       whole          whole until they are summed   this rank's slice of each; weights are gathered
 *   2       whole          slices                        the same
 *   3       slices         slices                        the same; weights are gathered for each use
 *
 * Rajbhandari et al. 2020, arXiv:1910.02054. A pass sees none of this: it acquires units
 * (model/units/units.h).
 *
 * Gradients are those of one micro-batch at a time in stages 2 and 3, and in every stage where sums are
 * pairwise: the release of a unit starts its reduction, and the sum over micro-batches is one of slices. Else
 * (stages 0 and 1, ranks in order) the micro-batches add to whole units, and the release in the last one
 * starts the reduction.
 *
 * Pairwise sums (how.pairwise): the micro-batches of a step have numbers g = 0..M-1; rank r computes g = i*R
 * + r as its i-th. Neighbours are added (low + high), then neighbours of these sums, and so on; what is left
 * over is folded in from the smallest block to the largest. The ranks' sums are the lower part of that tree,
 * a binary counter over i the upper one. So bits do not depend on R, which must be a power of two, nor on the
 * stage. */
#ifndef REMLA_OPTIM_SHARDS_H
#define REMLA_OPTIM_SHARDS_H
#include "base/arena.h"
#include "base/comm.h"
#include "kernels/kernels.h"
#include "model/units/units.h"
#include "optim/shard_layout.h"
#include "optim/two_sides.h"

enum { SHARDS_LEVELS = 32 };

typedef struct shards_settings {
    int stage; /* 0 to 3 */
    reduction how;
    int64_t micro_batches; /* of this rank in a step */
} shards_settings;

/* Bytes of what shards_init lays out. */
typedef struct shards_bytes {
    int64_t weights;   /* that stay, of act */
    int64_t gradients; /* sums, of real: whole units or slices */
    int64_t sides;     /* where units lie while they are used */
} shards_bytes;

typedef struct shards {
    const ops *k;
    const comm *c;            /* over the memory of the tensors */
    const param_table *table; /* borrowed */
    shards_settings set;
    shard_layout layout;
    shards_bytes bytes;

    /* weights: act */
    tensor *weight;         /* (units) of (padded), in stage 3 of (slice) */
    comm_ticket *gathered;  /* (units) stages 1 and 2: of the call that brings the others' new slices */
    two_sides weight_sides; /* stage 3: units in use, whole */
    int weight_held;        /* stage 3: the unit that a pass has acquired, or NO_UNIT */
    int weight_before;      /* stage 3: the one that was acquired last */

    /* gradients: real */
    tensor *whole; /* (units) of (padded): stage 0, and stage 1 unless sums are pairwise; else no data */
    tensor *level[SHARDS_LEVELS]; /* each (units) of (slice): sums of 2^level micro-batches over all ranks;
                                     that of the step ends in the last */
    int levels;
    two_sides grad_sides; /* gradients of one micro-batch */
    bool *grad_held;      /* (units) */
    int64_t micro_batch;  /* of the backward pass */
    comm_ticket reduced;  /* the reduction that was started last */
} shards;

/* Lays out weights and gradients in `a`, which may be measuring: then nothing is needed but the table of ops
 * and the rank and size of `c`. With memory, weights are zero. All but `set` are borrowed for the life of s.
 */
void shards_init(shards *s, const ops *k, const comm *c, const param_table *t, const shards_settings *set,
                 arena *a);
/* The same, and reserves what it takes of `a`, which is empty. */
void shards_reserve(shards *s, const ops *k, const comm *c, const param_table *t, const shards_settings *set,
                    arena *a);
/* Waits for what is on its way. The memory is the arena's. */
void shards_free(shards *s);

/* ---- for passes: good as long as s. With several ranks acquire and release are collective ---- */

/* For model.units. A pass holds one unit at a time. */
units shards_weights(shards *s);
/* For the backward of this rank's i-th micro-batch of the step; 0, 1, ... */
units shards_gradients(shards *s, int64_t micro_batch);
/* For a backward that is no part of a step, before the first micro-batch of one: the gradient of a unit lies
 * in the room of the step's until it is released, which forgets it. Not collective. */
units shards_gradients_unsummed(shards *s);

/* ---- for the optimizer, while no unit is held ---- */

/* After the last micro-batch: what is queued behind it sees the sums of the step. Collective. */
void shards_sum(shards *s);

/* True when a rank updates a slice of each unit, false when it updates all of it. */
static inline bool shards_cut(const shards *s) { return s->set.stage > 0; }
/* Elements of a unit with its padding, of the part of it that this rank updates, and before that part. */
int64_t shards_padded(const shards *s, int u);
int64_t shards_part(const shards *s, int u);
int64_t shards_before(const shards *s, int u);
/* The largest unit. */
int shards_largest(const shards *s);
/* That part of the weights, act; waits for those that are on their way. And of the step's gradient, real. */
tensor shards_weight_part(shards *s, int u);
tensor shards_gradient_part(const shards *s, int u);

/* The part of the unit's weights has new values: the other ranks get them now, or when a pass asks.
 * Collective; units in order, from the first to the last. */
void shards_updated(shards *s, int u);

#endif
