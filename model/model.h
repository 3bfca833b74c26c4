/* A transformer with GQA or MLA attention, in three objects with lives of their own:
 *   model        shape, ops and weights. One may be used by several passes, and is not written by them
 *   activations  what a pass over one micro-batch needs (model/activations.h)
 *   gradients    sums, of the same shapes as the weights: units that only training has (optim/shards.h)
 * and the hand-written forward and backward, which take the three as arguments. Nothing is allocated in a
 * pass. */
#ifndef REMLA_MODEL_MODEL_H
#define REMLA_MODEL_MODEL_H
#include "base/token_batch.h"
#include "kernels/kernels.h"
#include "model/activations.h"
#include "model/weights.h"

typedef struct model {
    dims d;
    const ops *k;
    param_table table;
    weights w;   /* act; resident. Loading and conversion write here, between passes */
    units units; /* where passes get their weights: those of w, unless others of the table are put here */
    arena memory;
} model;

/* Lays out and reserves the weights, which are zero until they are loaded. `pad` as for weights_init. Stops
 * the job when memory is short. */
void model_init(model *m, const dims *d, const ops *k, int64_t pad);
/* The same without weights: what passes use must be put into m->units. */
void model_init_bare(model *m, const dims *d, const ops *k);
void model_free(model *m);
/* Bytes that model_init reserves without padding. */
int64_t model_bytes(const dims *d, const ops *k);

/* Embedding, layers and final norm: a->hidden. Does not read the targets. The batch, here and below, has the
 * B and T of the activations. All three calls of a step are queued on a device and wait for nothing:
 * forward, a loss (model/loss.h), backward. Each holds at most one unit of weights at a time, and none when
 * it returns. They are collective where the units are. */
void model_forward(const model *m, activations *a, const token_batch *batch);
/* Adds to g the gradients of a loss whose gradient by a->hidden is in a->dhidden, which is overwritten. The
 * loss must have added the head's before: g's units are released here, each as soon as it is complete, from
 * the last one to the first. */
void model_backward(const model *m, activations *a, const units *g);

/* Forward and loss: the sum of the losses of the counted targets, in nats. Waits for the device; loss_sum
 * afterwards is this sum. */
double model_evaluate(const model *m, activations *a, const token_batch *batch);
/* Forward, loss, backward: adds that sum to *loss (1) f64, and its gradient to g. Waits for nothing. */
void model_train(const model *m, activations *a, const units *g, const token_batch *batch, tensor *loss);

/* Floating-point operations of one token of a training step (forward and backward, multiply and add counted
 * apart) at length T: 6 for every weight that multiplies, and causal attention counted once. Recomputation is
 * not counted. */
double model_flops_per_token(const dims *d, int64_t T);
/* Those of one layer. The others are the head's. */
double model_layer_flops_per_token(const dims *d, int64_t T);

#endif
