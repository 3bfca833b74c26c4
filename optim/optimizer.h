/* AdamW over the units of a model in training (shards.h): each rank keeps m, v and the master weights of the
 * part of every unit that it updates. Weights that a model computes with may be of a half type; masters are
 * not, and where both are of one type the weights are their own masters. A step is queued on the device from
 * first to last; reading its loss waits for it. */
#ifndef REMLA_OPTIM_OPTIMIZER_H
#define REMLA_OPTIM_OPTIMIZER_H
#include "optim/states.h"

typedef struct optimizer {
    const ops *k;
    const comm *c; /* over host memory */
    shards *s;     /* borrowed */
    states states;
    tensor losses;       /* (M) f64: of the step's micro-batches, over all ranks */
    tensor squares;      /* (segments of all units) f64: the sum of each segment's squares of the gradient */
    tensor factor, norm; /* (1) f64: what the gradient is multiplied by; its norm, of the mean loss */
    tensor fingerprints; /* (units) u64: see optim/fingerprints.h */
    double beta1, beta2, eps, decay;
    arena *offload; /* where states lie: pinned memory of the device's host; NULL: beside the rest */
} optimizer;

/* Lays the state out in `a` and o->offload (which may be measuring). `c` has the ranks of s->c, in host
 * memory. With memory, moments are zeroed. Masters that are not the weights themselves hold nothing before
 * OPTIM_MASTER has been set on all ranks (optimizer_masters_set). */
void optimizer_init(optimizer *o, const comm *c, shards *s, arena *a);
/* The same, and reserves what it takes of `a` and o->offload, which are empty. */
void optimizer_reserve(optimizer *o, const comm *c, shards *s, arena *a);
void optimizer_free(optimizer *o);

/* ---- a step ---- */

/* Before the first micro-batch. */
void optimizer_begin(optimizer *o);
/* (1) f64, zero: takes the summed loss of this rank's i-th micro-batch of the step. */
tensor optimizer_loss(const optimizer *o, int64_t micro_batch);
/* After the last micro-batch: sums gradients and losses over the ranks, and decides what the gradient is
 * multiplied by: `mean` (1 / counted targets) and the clipping at `limit` (0: none). Collective. */
void optimizer_clip(optimizer *o, double mean, double limit);
/* One AdamW step (`step` from 1); nothing changes where loss or norm is not finite. Matrices decay,
 * parameters of one axis do not. Collective. */
void optimizer_update(optimizer *o, double rate, int64_t step);

/* After optimizer_clip; both wait for the device. The sum of the losses of all ranks; the norm of the mean
 * gradient before clipping. */
double optimizer_loss_sum(const optimizer *o);
double optimizer_norm(const optimizer *o);

/* ---- units, between steps ---- */

typedef enum optim_part { /* the states first, as state_kind has them */
                          OPTIM_M = STATE_M,
                          OPTIM_V = STATE_V,
                          OPTIM_MASTER = STATE_MASTER,
                          OPTIM_GRAD
} optim_part;
/* True for what lies among the states: the moments, and masters that are not the weights themselves. */
static inline bool optimizer_is_state(const optimizer *o, optim_part part)
{
    return (int)part < o->states.kinds;
}

/* Brings a whole unit of m, v, masters or the summed gradient to `full` (padded, host) on every rank. For
 * checkpoints and dumps, one unit at a time. Collective. */
void optimizer_gather(optimizer *o, optim_part part, int u, float *full);
/* Sets this rank's part of a unit (shards_part elements, host; padding is zero), of masters also its part of
 * the weights. Not collective. */
void optimizer_set(optimizer *o, optim_part part, int u, const float *own);
/* When all ranks have set their masters of all units: the other ranks' parts of the weights come as they do
 * after an update. Collective. */
void optimizer_masters_set(optimizer *o);

/* This rank's part of a unit where it lies (shards_part): in memory of the ops or, of states that are
 * offloaded (states.h), in the host's, which may be touched after device_copies_finish. Waits for weights
 * that are on their way. */
tensor optimizer_part(const optimizer *o, optim_part part, int u);

#endif
