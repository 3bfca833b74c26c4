/* Private to base/comm_mpi*.c: ranks over MPI, in host memory.
 *
 *     comm_mpi.c             starts and stops; fills the table of calls
 *     comm_mpi_thread.c      the thread that makes all MPI calls in between, from a queue, and how it waits
 *     comm_mpi_exchange.c    the calls themselves, on that thread
 *     comm_mpi_heartbeat.c   watches the neighbour, whatever the thread waits for */
#ifndef REMLA_BASE_COMM_MPI_H
#define REMLA_BASE_COMM_MPI_H
#include "base/comm_calls.h"
#include <mpi.h>
#include <stddef.h>

/* Stops the job unless `code` is MPI_SUCCESS. */
void comm_mpi_checked(int code, const char *call);
#define MPI_OK(call) comm_mpi_checked(call, #call)

/* "reduce_scatter (call 7): " while the thread that asks makes a call; else "". */
const char *comm_mpi_running(char *buffer, size_t bytes);

/* The host of rank r. */
const char *comm_mpi_host(int r);

/* ---- the thread --------------------------------------------------------------------------------------- */

/* A call as it stands in the queue. */
typedef struct comm_mpi_call {
    const char *name;
    void (*run)(const struct comm_mpi_call *); /* on the thread */
    void *out;                                 /* the place of the result */
    const void *inp;
    int64_t count; /* elements of a shard, bytes of a part, values */
    int root;
    reduction how;
    bool timed;   /* comm_limit holds for it */
    double limit; /* filled by comm_mpi_queue */
    /* Instead of run, for comm_mpi_now: starts a piece, 0, 1, ... */
    void (*start)(const struct comm_mpi_call *, int64_t piece, MPI_Request *);
    int64_t pieces;
} comm_mpi_call;

void comm_mpi_thread_start(const comm *world);
void comm_mpi_thread_stop(void); /* when all that is queued is done; collective */

/* Queues a copy of the call. Waits while the queue is full. */
void comm_mpi_queue(comm_mpi_call call);
comm_ticket comm_mpi_ticket(const comm *c);            /* of the call that was queued last */
void comm_mpi_done(const comm *c, comm_ticket ticket); /* returns when that call is done */
void comm_mpi_limit(const comm *c, double seconds);
double comm_mpi_seconds_waited(const comm *c);

/* Makes a call of MPI's own collectives beside those of the queue; returns when it is done. One caller. */
void comm_mpi_now(comm_mpi_call call);

/* For calls that run on the thread. Each looks after the heartbeats, too. */
void comm_mpi_wait_ranks(MPI_Request *request); /* until (2*size) are done; [2r] and [2r+1] are with rank r */
void comm_mpi_pause(double seconds);

/* ---- the calls ---------------------------------------------------------------------------------------- */

void comm_mpi_exchange_start(const comm *world);
void comm_mpi_exchange_stop(void);
void comm_mpi_broadcast(const comm *c, void *bytes, int64_t count, int root);
void comm_mpi_max_i64(const comm *c, int64_t *values, int64_t count);
void comm_mpi_sum_f64(const comm *c, double *values, int64_t count);
void comm_mpi_all_gather(const comm *c, void *all, const void *part, int64_t bytes);
void comm_mpi_reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how);
int64_t comm_mpi_bytes_sent(const comm *c);

/* ---- heartbeats --------------------------------------------------------------------------------------- */

void comm_mpi_heartbeat_start(const comm *world); /* collective */
void comm_mpi_heartbeat_stop(void);
void comm_mpi_heartbeat_limit(double seconds); /* from any thread */

/* To be called more often than once a second, with the time. Sends what is due, and stops the job when the
 * neighbour has been silent for too long. Returns true when this process itself has not run for a while: its
 * clocks say nothing about others then, and have to begin anew. */
bool comm_mpi_heartbeat(double now);

/* Says that this rank will be silent from now on, and begins to look out for the neighbour's same word. */
void comm_mpi_heartbeat_leave(void);
bool comm_mpi_heartbeat_left(void); /* both words have arrived */

#endif
