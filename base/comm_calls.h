/* Private to base/: the calls that a communicator of several ranks implements. comm_self.c has the public
 * functions of comm.h; with one rank they do the work themselves, with several they call these. */
#ifndef REMLA_BASE_COMM_CALLS_H
#define REMLA_BASE_COMM_CALLS_H
#include "base/comm.h"

struct comm_calls {
    /* Host memory only: NULL for a device's communicator. */
    void (*broadcast)(const comm *c, void *bytes, int64_t count, int root);
    void (*max_i64)(const comm *c, int64_t *values, int64_t count);

    void (*sum_f64)(const comm *c, double *values, int64_t count);
    /* all (size*part_bytes); part may be at its own place inside it. */
    void (*all_gather)(const comm *c, void *all, const void *part, int64_t part_bytes);
    void (*reduce_scatter)(const comm *c, float *out, float *full, int64_t shard, const reduction *how);
    /* Returns the ticket of the call that was queued last. NULL: calls are done when they return. */
    comm_ticket (*ticket)(const comm *c);
    void (*wait)(const comm *c, comm_ticket ticket);
    void (*limit)(const comm *c, double seconds);
    int64_t (*bytes_sent)(const comm *c);
    double (*seconds_waited)(const comm *c);   /* host memory only */
    const char *(*host)(const comm *c, int r); /* host memory only */
    void (*stop)(void);                        /* of a communicator of one rank too */
};

/* Seconds that REMLA_COMM_DELAY_MS adds to a call. */
double comm_delay(void);

/* The communicator of the job, or NULL when no launcher started this process. */
const comm *comm_mpi_start(void);

#endif
