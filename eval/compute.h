/* Opens what a command computes on: the CPU, or a GPU for each rank, and the ops for it. */
#ifndef REMLA_EVAL_COMPUTE_H
#define REMLA_EVAL_COMPUTE_H
#include "base/comm.h"
#include "kernels/kernels.h"
#include "model/dims.h"

/* The GPU where every rank has one, or one of the two. */
typedef enum compute_kind { COMPUTE_AUTO, COMPUTE_CPU, COMPUTE_CUDA } compute_kind;

/* Holds what a command requests. `act` and `attention` are for a GPU; the CPU computes in F32. */
typedef struct compute_settings {
    compute_kind kind;
    dtype act; /* F32 or BF16: of activations, and of the weights that products read */
    attention_choice attention;
} compute_settings;

typedef struct compute {
    device *device; /* this rank's GPU, or NULL: the CPU */
    dtype act;      /* of what it computes with */
    attention_choice attention;
    ops **table; /* (tables) of the GPU, one for every shape; owned */
    int tables;
    const comm *ranks; /* over GPUs, once compute_ranks was called, or NULL */
} compute;

/* COMPUTE_AUTO says in the log why it is not a GPU. The caller ends with compute_close, whatever the status.
 * MPI: collective; every rank computes on the same kind and returns the same status. */
status compute_open(compute *x, const compute_settings *wanted, const comm *c, message *why);

/* The ops for models of shape d and micro-batches of B sequences of T tokens, whose attention is chosen for
 * this shape; models of several shapes compute side by side, each with its own. *k belongs to x. MPI:
 * collective; every rank returns the same status. */
status compute_ops(compute *x, const dims *d, int64_t B, int64_t T, const comm *c, const ops **k,
                   message *why);

/* Both of the above, for a command that computes on one shape. The caller ends with compute_close, whatever
 * the status. MPI: collective; every rank returns the same status. */
status compute_start(compute *x, const compute_settings *wanted, const dims *d, int64_t B, int64_t T,
                     const comm *c, const ops **k, message *why);

/* The ranks of c over the memory of the ops' tensors, for training: on the CPU c itself. Belongs to x; at
 * most once. MPI: collective. */
const comm *compute_ranks(compute *x, const comm *c);
void compute_close(compute *x);

/* Returns the most that this rank could compute in the type of its activations, FLOP/s: measured on the CPU,
 * computed from the number of processors and their clock on a GPU. */
double compute_peak_flops(const compute *x);

#endif
