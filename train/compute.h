/* What a command computes on, as device.kind, device.storage and device.attention say. */
#ifndef REMLA_TRAIN_COMPUTE_H
#define REMLA_TRAIN_COMPUTE_H
#include "base/comm.h"
#include "kernels/kernels.h"
#include "train/options.h"

typedef struct compute {
    device *device; /* this rank's GPU, or NULL: the CPU */
    const ops *k;
    const comm *tensors; /* ranks over the memory of k's tensors: on the CPU the communicator itself */
} compute;

/* device.kind=auto takes a GPU where there is one and says why not otherwise. MPI: collective; every rank
 * computes on the same kind and returns the same status. */
status compute_open(compute *x, const options *o, const comm *c, message *why);
void compute_close(compute *x);

#endif
