/* What a command computes on, as device.kind, device.storage and device.attention say. */
#ifndef REMLA_TRAIN_COMPUTE_H
#define REMLA_TRAIN_COMPUTE_H
#include "base/comm.h"
#include "kernels/kernels.h"
#include "model/dims.h"
#include "train/options/options.h"

typedef struct compute {
    device *device; /* this rank's GPU, or NULL: the CPU */
    ops *cuda;      /* its table, or NULL */
    const ops *k;
    const comm *ranks; /* over GPUs, once compute_ranks was called, or NULL */
} compute;

/* For models of shape d and micro-batches of B sequences of T tokens. device.kind=auto takes a GPU where
 * every rank has one, and otherwise says why not. MPI: collective; every rank computes on the same kind and
 * returns the same status. */
status compute_open(compute *x, const options *o, const dims *d, int64_t B, int64_t T, const comm *c,
                    message *why);

/* The ranks of c over the memory of k's tensors, for training: on the CPU c itself. Belongs to x; at most
 * once. MPI: collective. */
const comm *compute_ranks(compute *x, const comm *c);
void compute_close(compute *x);

/* What this rank could compute at most in the type of its activations, FLOP/s: measured on the CPU, on a GPU
 * what its number of processors and their clock allow. */
double compute_peak_flops(const compute *x);

#endif
