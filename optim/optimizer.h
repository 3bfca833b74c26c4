/* AdamW over units, its state cut evenly over the ranks (ZeRO stage 1): each rank sums its slice of every
 * unit's gradient, keeps m and v of that slice, updates it, and the slices are gathered again. With one rank
 * the same code degenerates to plain AdamW. */
#ifndef REMLA_OPTIM_OPTIMIZER_H
#define REMLA_OPTIM_OPTIMIZER_H
#include "base/arena.h"
#include "base/comm.h"
#include "kernels/kernels.h"

/* A run of elements of a unit with one decay setting: a parameter. */
typedef struct optim_span {
    int64_t from, count;
    bool decay;
} optim_span;

typedef struct optim_unit {
    const char *name;
    tensor weight,
        grad; /* (numel) flat, padded to a multiple of ranks*16; borrowed for the life of the optimizer */
    const optim_span *span; /* borrowed */
    int spans;
} optim_unit;

typedef struct optimizer {
    const ops *k;
    const comm *c;
    int num_units;
    optim_unit *unit;
    tensor *m, *v; /* (numel/ranks): this rank's slice of each unit */
    tensor sums;   /* (1) f64: scratch of the reductions */
    double beta1, beta2, eps, decay;
} optimizer;

/* Lays the state out in `a` (which may be measuring) and zeroes it when it has memory. */
void optimizer_init(optimizer *o, const ops *k, const comm *c, const optim_unit *unit, int num_units,
                    arena *a);
void optimizer_free(optimizer *o);

/* Sums unit u's gradient over ranks into this rank's slice of grad. Collective. Called for each unit when its
 * backward is done. */
void optimizer_reduce(optimizer *o, int u);
/* Norm of the summed gradient times `scale`. After all units are reduced. Collective. */
double optimizer_norm(optimizer *o, double scale);
/* One AdamW step (`step` from 1) with gradient*scale, then gathers the weights on every rank. Collective. */
void optimizer_update(optimizer *o, double rate, double scale, int64_t step);
void optimizer_zero_grad(optimizer *o);

/* Brings a whole unit of m, v or the reduced gradient (each rank has its slice) to `full` (padded numel,
 * host) on every rank; the reverse sets this rank's slice from `full`. For checkpoints and dumps, one unit at
 * a time. gather is collective, scatter is not. */
typedef enum optim_part { OPTIM_M, OPTIM_V, OPTIM_GRAD } optim_part;
void optimizer_gather(optimizer *o, optim_part part, int u, float *full);
void optimizer_scatter(optimizer *o, optim_part part, int u, const float *full);

#endif
