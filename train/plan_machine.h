/* The devices that a plan (train/plan.h) can be made for: what they hold and do, in one table. */
#ifndef REMLA_TRAIN_PLAN_MACHINE_H
#define REMLA_TRAIN_PLAN_MACHINE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* All of one rank. Bytes per second are those that a rank sends in a ring through all ranks. */
typedef struct plan_machine {
    const char *name;      /* "h100" */
    bool gpu;              /* computes in device.storage, on memory of its own; else in f32 on the host's */
    int64_t bytes;         /* of memory */
    int64_t library;       /* of these, what driver and libraries take */
    int64_t library_ranks; /* and what exchange with other ranks takes on top */
    double peak, peak_f32; /* FLOP/s with activations in bf16 and in f32 */
    double share;          /* of the peak that a step reaches, by the model's count of operations */
    int host_ranks;        /* devices of a host */
    double inside, across; /* bytes per second while all ranks are on one host, and over several */
    double call;           /* seconds before a call moves anything */
    double step_inside;    /* seconds of a ring's step to a rank of the same host, */
    double step_across;    /* and to one of the next host */
    double host;           /* bytes per second to the host's memory, and as many back at the same time */
} plan_machine;

/* Finds a device by its name: h100, a100 or cpu, of which `ranks` ranks share this machine. ERR_USAGE names
 * those that there are. The CPU's peak is measured, which takes a moment. */
status plan_machine_find(plan_machine *m, const char *name, int ranks, message *why);

#endif
