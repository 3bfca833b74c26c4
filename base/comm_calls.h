/* Private to base/: what an implementation of comm.h provides. comm_self.c has the public functions, which forward to it. */
#ifndef REMLA_BASE_COMM_CALLS_H
#define REMLA_BASE_COMM_CALLS_H
#include "base/comm.h"

struct comm_calls {
    void (*barrier)(void);
    void (*broadcast)(void *bytes, int64_t count, int root);
    void (*all_gather)(void *all, const void *part, int64_t part_bytes); /* part may be at its own place inside all */
    void (*max_i64)(int64_t *values, int64_t count);
    void (*reduce_scatter_f32)(const comm *c, float *out, float *full, int64_t shard);
};

/* The MPI communicator of the job, or NULL when no launcher started this process. */
const comm *comm_mpi_start(void);
void comm_mpi_stop(void);

#endif
