/* How ranks talk. Two implementations behind one type: comm_self (one process) and comm_mpi (host memory).
 * Every function here but comm_self, comm_start and comm_stop is collective: all ranks call it, with the same
 * counts, in the same order. A fault of the network stops the job (ERR_DEVICE). Sums run in rank order, so
 * that the bits do not depend on which algorithm the MPI library picks. */
#ifndef REMLA_BASE_COMM_H
#define REMLA_BASE_COMM_H
#include "base/status.h"
#include <stdint.h>

typedef struct comm {
    int rank, size;             /* in the whole job */
    int local_rank, local_size; /* among the ranks on this host */
    const struct comm_calls *calls;
} comm;

/* A communicator of this process alone; needs no MPI. */
const comm *comm_self(void);

/* Starts MPI when the process was launched by mpirun or srun (their environment tells), else gives comm_self,
 * so that a program run alone needs no working MPI. Sets die_hook. Not thread-safe; call once. */
const comm *comm_start(void);
void comm_stop(const comm *c); /* finalises MPI if comm_start began it */

void comm_barrier(const comm *c);
void comm_sum_f64(const comm *c, double *values, int64_t count);  /* in place, sum over ranks, rank order */
void comm_max_i64(const comm *c, int64_t *values, int64_t count); /* in place */
void comm_broadcast(const comm *c, void *bytes, int64_t count, int root);

/* Sums full[size*shard] over ranks; rank r keeps elements [r*shard, (r+1)*shard) in `out` (shard), which may
 * be the same place inside `full`. `full` is overwritten. */
void comm_reduce_scatter_f32(const comm *c, float *out, float *full, int64_t shard);

/* all (size*part_bytes) on every rank from each rank's `part`, which may lie at its own place inside `all`.
 */
void comm_all_gather(const comm *c, void *all, const void *part, int64_t part_bytes);

/* What a device queues after this call sees what the calls before it have brought. Host memory: nothing to
 * do. Not collective. */
void comm_fence(const comm *c);

/* Every rank brings its status; all return the worst one (the largest code), with the sentence of the lowest
 * rank that has it. What every function that can fail on one rank alone calls before it returns: without it
 * the others wait for ever. */
status comm_agree(const comm *c, status mine, message *why);

#endif
