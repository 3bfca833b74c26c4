/* AdamW over units of parameters (model/units/), its state cut evenly over the ranks (ZeRO stage 1): each
 * rank sums its slice of every unit's gradient, keeps m, v and the master weights of that slice, updates it,
 * and the slices are gathered again. With one rank the same code degenerates to plain AdamW. Weights that a
 * model computes with may be of a half type; masters are not, and where both are of one type the weights are
 * their own masters. A step is queued on the device from first to last; reading its loss waits for it. */
#ifndef REMLA_OPTIM_OPTIMIZER_H
#define REMLA_OPTIM_OPTIMIZER_H
#include "base/arena.h"
#include "base/comm.h"
#include "kernels/kernels.h"
#include "model/units/param_table.h"
#include "model/units/units.h"

typedef struct optimizer {
    const ops *k;
    const comm *c;               /* over host memory */
    const comm *tensors;         /* over the memory of the tensors: c itself on the CPU */
    const param_table *table;    /* borrowed */
    const tensor *weight, *grad; /* (units) of (padded numel): act, real; borrowed */
    tensor *m, *v, *master;      /* (units) of (padded numel/ranks): this rank's slice of each unit */
    comm_ticket summed;          /* the last unit that was reduced */
    tensor squares;              /* (units) f64: of the summed gradient */
    tensor factor, norm;         /* (1) f64: what it is multiplied by; of the mean gradient */
    double beta1, beta2, eps, decay;
} optimizer;

/* Lays the state out in `a` (which may be measuring). `weight` and `grad` are the resident units of the
 * table's model and of its gradients: flat, padded to a multiple of ranks*16, borrowed for the life of the
 * optimizer. Padding stays as it is. With memory, moments are zeroed. Masters that are not the weights
 * themselves hold nothing before OPTIM_MASTER has been set. */
void optimizer_init(optimizer *o, const ops *k, const comm *c, const comm *tensors, const param_table *table,
                    const tensor *weight, const tensor *grad, arena *a);
void optimizer_free(optimizer *o);

/* The units that a backward pass adds its gradients to; good as long as o. `last`: it is the pass of the
 * step's last micro-batch, in which the release of a unit sums its gradient over the ranks, into this rank's
 * slice of grad. Then release is collective, and overlaps with what is queued after it. */
units optimizer_gradients(optimizer *o, bool last);
/* After the last micro-batch: sums *loss (1) f64 over the ranks, and decides what the gradient is multiplied
 * by: `mean` (1 / counted targets) and the clipping at `limit` (0: none). Collective. */
void optimizer_clip(optimizer *o, tensor *loss, double mean, double limit);
/* Norm of the mean gradient before clipping. Waits for the device. After optimizer_clip. */
double optimizer_norm(const optimizer *o);
/* One AdamW step (`step` from 1), then the weights are gathered on every rank; nothing changes where loss or
 * norm is not finite. Matrices decay, parameters of one axis do not. Collective. */
void optimizer_update(optimizer *o, double rate, int64_t step);
void optimizer_zero_grad(optimizer *o);

/* Brings a whole unit of m, v, masters or the reduced gradient (each rank has its slice) to `full` (padded
 * numel, host) on every rank; set takes this rank's slice from `full` (and, of masters, the whole unit's
 * weights). For checkpoints and dumps, one unit at a time. gather is collective, set is not. */
typedef enum optim_part { OPTIM_M, OPTIM_V, OPTIM_MASTER, OPTIM_GRAD } optim_part;
void optimizer_gather(optimizer *o, optim_part part, int u, float *full);
void optimizer_set(optimizer *o, optim_part part, int u, const float *full);

#endif
