/* Communication between ranks. Three implementations behind one type: comm_self (one process), comm_mpi (host
 * memory) and comm_nccl (memory of devices). Every function here but comm_self, comm_start, comm_wait,
 * comm_limit, comm_bytes_sent, comm_seconds_waited and comm_host is collective: all ranks call it, with the
 * same counts, in the same order. A fault of the network stops the job (ERR_DEVICE). Sums run in an order of
 * this file's, so that the bits do not depend on which algorithm the MPI library picks.
 *
 * A call that returns a ticket is queued: it returns at once, and the memory that it works on, to read or to
 * write, is the communicator's until comm_wait for the ticket. Calls of a communicator run one after another,
 * in the order in which they were made. On the host a thread of the communicator runs them while the caller
 * computes. Calls without a ticket are done when they return, and do not wait for those that are queued. With
 * one rank a call is done when it returns.
 *
 * A communicator over devices has sum_f64, reduce_scatter, all_gather and wait; the host's does the rest. Its
 * pointers are device pointers, and its calls run behind what was queued on the device's stream until then.
 * What is queued on that stream after comm_wait for a ticket sees the call's results. All ranks get the same
 * bits, and the same again in another run on the same machines, unless the environment's NCCL_NVLS_ENABLE
 * lets NVLink's switches add, which is faster. With more than two ranks, sums of f32 that are not pairwise
 * are in an order that NCCL picks.
 *
 * For tests and measurements, the environment's REMLA_COMM_DELAY_MS=n makes every reduce_scatter and
 * all_gather between ranks take n ms longer. */
#ifndef REMLA_BASE_COMM_H
#define REMLA_BASE_COMM_H
#include "base/status.h"
#include "base/tensor.h"
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
 * mpirun, so that a leftover rank does not block the next start. With several ranks it starts the thread that
 * runs the calls; from then on no other code may call MPI. A start that takes longer than 600 s, or the
 * environment's REMLA_START_TIMEOUT (0: forever), ends this process with ERR_DEVICE. Where mpirun has not
 * ended ten seconds after a rank of its host died, a process that the rank leaves behind ends it. Not
 * thread-safe; call once. */
const comm *comm_start(void);
/* Waits for the other ranks to come here too, and finalises MPI if comm_start began it; ends one over
 * devices. */
void comm_stop(const comm *c);

/* The communicator of the same ranks over their devices, one at a time. Collective. Stops the job when NCCL's
 * library is missing (with several ranks) or the devices cannot reach each other; waits no longer than
 * device.h says. comm_stop it before the device is closed and `host` is stopped. */
const comm *comm_nccl_start(struct device *d, const comm *host);

/* Names what the ranks talk through, for records: "Open MPI v4.1.4", "" in a process that was not launched;
 * and NCCL's version, 22809 is 2.28.9, 0 while no communicator over devices was started. */
const char *comm_library(void);
int comm_nccl_version(void);

/* How long a call made from now on may wait for other ranks, in seconds; 0: forever, which is also how it
 * begins. A call that waits longer stops the job with ERR_DEVICE, and a sentence that names the call and the
 * ranks that have not come. On the host it holds for calls with a ticket; comm_max_i64, comm_broadcast and
 * comm_agree may wait as long as another rank works, say writes a checkpoint. In all of them ranks watch each
 * other: one whose process is stopped, gone or cut off for longer than the last limit that was not 0 (600 s
 * where there was none, and never less than 3 s) stops the job in the same way. */
void comm_limit(const comm *c, double seconds);

/* Bytes that this rank has sent to other ranks in reduce_scatter, all_gather and sum_f64 since the start, in
 * calls that are done: (size-1) times the shard, the part, the values (on a device: as a ring sends them). */
int64_t comm_bytes_sent(const comm *c);

/* Seconds since the start in which this rank's caller waited in calls on the host's communicator, for others
 * or for the network; of one that waits now, so far. From any thread. On a device's communicator it is 0:
 * there the device waits. */
double comm_seconds_waited(const comm *c);
/* The host of rank r, on the host's communicator. Good until comm_stop. */
const char *comm_host(const comm *c, int r);

void comm_max_i64(const comm *c, int64_t *values, int64_t count); /* in place */
void comm_broadcast(const comm *c, void *bytes, int64_t count, int root);

/* Sums over the ranks in place, in rank order. */
comm_ticket comm_sum_f64(const comm *c, double *values, int64_t count);

/* How floats are summed over ranks. Sums are f32 in any case. */
typedef struct reduction {
    dtype sent;    /* F32; or BF16: each rank's part, the rank's own one too, is rounded to it before it is
                      added, with one rank as well */
    bool pairwise; /* ((p0+p1)+(p2+p3))+..., a tree whose left parts are as large a power of 2 as there is
                      room for; else in rank order */
} reduction;

/* Sums full[size*shard] over ranks; rank r keeps elements [r*shard, (r+1)*shard) in `out` (shard), which may
 * be the same place inside `full`. `full` is overwritten. `how` is read before the call returns. */
comm_ticket comm_reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how);

/* all (size*part_bytes) on every rank from each rank's `part`, which may lie at its own place in `all`. */
comm_ticket comm_all_gather(const comm *c, void *all, const void *part, int64_t part_bytes);

/* On the host: returns when that call is done. On a device: makes work queued on the device's stream from
 * now on run after it; the host goes on at once. Calls end in the order in which they were made: this waits
 * for those before it too, and for none after it (on a device: unless dozens were made since, see
 * comm_nccl.c). */
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
