/* Communication between ranks. Three implementations behind one type: comm_self (one process), comm_mpi (host
 * memory) and comm_nccl (memory of devices). Every function here but comm_self, comm_start, comm_stop and
 * comm_wait is collective: all ranks call it, with the same counts, in the same order. A fault of the network
 * stops the job (ERR_DEVICE). Sums run in rank order, so that the bits do not depend on which algorithm the
 * MPI library picks.
 *
 * A communicator over devices has sum_f64, reduce_scatter_f32, all_gather and wait; the host's does the
 * rest. Its pointers are device pointers, and its functions return when their work is queued, behind what was
 * queued on the device's stream until then. They return a ticket: what is queued on that stream after
 * comm_wait for the ticket sees the call's results. Until then the caller must not touch the memory that the
 * call works on. All ranks get the same bits, and the same again in another run on the same machines, unless
 * the environment's NCCL_NVLS_ENABLE lets NVLink's switches add, which is faster; with more than two ranks
 * NCCL picks the order of the sums. */
#ifndef REMLA_BASE_COMM_H
#define REMLA_BASE_COMM_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct comm {
    int rank, size;             /* in the whole job */
    int local_rank, local_size; /* among the ranks on this host */
    bool mpirun;                /* started by Open MPI's mpirun */
    struct device *device;      /* its pointers are into this device's memory; NULL: host memory */
    const struct comm_calls *calls;
} comm;

/* Stands for one call on the communicator that returned it, to wait for. All zeros: the call is done. */
typedef struct comm_ticket {
    uint64_t call; /* its number, from 1 */
} comm_ticket;

/* A communicator of this process alone; needs no MPI. */
const comm *comm_self(void);

/* Starts MPI when the process was launched by mpirun or srun (their environment tells), else gives comm_self,
 * so that a program run alone needs no working MPI. Sets die_hook. A rank that mpirun started dies with
 * mpirun, so that a leftover rank does not block the next start. Not thread-safe; call once. */
const comm *comm_start(void);
void comm_stop(const comm *c); /* finalises MPI if comm_start began it; ends one over devices, collectively */

/* The communicator of the same ranks over their devices, one at a time. Collective. Stops the job when NCCL's
 * library is missing (with several ranks) or the devices cannot reach each other; waits no longer than
 * device.h says. comm_stop it before the device is closed and `host` is stopped. */
const comm *comm_nccl_start(struct device *d, const comm *host);

void comm_max_i64(const comm *c, int64_t *values, int64_t count); /* in place */
void comm_broadcast(const comm *c, void *bytes, int64_t count, int root);

/* Sums over the ranks in place, in rank order. */
comm_ticket comm_sum_f64(const comm *c, double *values, int64_t count);

/* Sums full[size*shard] over ranks; rank r keeps elements [r*shard, (r+1)*shard) in `out` (shard), which may
 * be the same place inside `full`. `full` is overwritten. */
comm_ticket comm_reduce_scatter_f32(const comm *c, float *out, float *full, int64_t shard);

/* all (size*part_bytes) on every rank from each rank's `part`, which may lie at its own place in `all`. */
comm_ticket comm_all_gather(const comm *c, void *all, const void *part, int64_t part_bytes);

/* Makes work queued on the device's stream from now on run after that call; the host goes on at once.
 * Calls end in the order in which they were made: this waits for those before it too, and for none after it
 * (unless dozens were made since: see comm_nccl.c). In host memory a call is done when it returns, and there
 * is nothing to wait for. Not collective. */
void comm_wait(const comm *c, comm_ticket ticket);

/* Every rank brings its status; all return the worst one (the largest code), with the sentence of the lowest
 * rank that has it. A function that can fail on one rank alone calls this before it returns; otherwise the
 * other ranks would deadlock. */
status comm_agree(const comm *c, status mine, message *why);

/* Calls on rank 0 alone, and hands its status to all ranks. `call` may fill `why`. */
#define COMM_ROOT(c, call, why) comm_agree((c), (c)->rank == 0 ? (call) : OK, (why))

/* TRY for collective functions: hands a failure on any rank, or on rank 0, to the callers on all ranks. */
#define TRY_ALL(c, call, why)  TRY(comm_agree((c), (call), (why)))
#define TRY_ROOT(c, call, why) TRY(COMM_ROOT(c, call, why))

#endif
