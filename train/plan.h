/* What a training run takes, before it starts: memory of a rank, disk, time, bytes between ranks. Memory is
 * that of the layout code itself, run on measuring arenas (base/arena.h): nothing is allocated, and no
 * device, no weights and no other rank are needed. The rest is counted from shapes and from the figures of
 * train/plan_machine.h. Nothing here is collective. */
#ifndef REMLA_TRAIN_PLAN_H
#define REMLA_TRAIN_PLAN_H
#include "train/benchmarks.h"
#include "train/plan_machine.h"

typedef struct plan_run {
    const options *o;
    const dims *d;
    int ranks;
    int64_t steps;                     /* of the run; -1: not known */
    const decoder_settings *questions; /* of eval.tasks; NULL: there are none */
    plan_machine machine;
} plan_run;

/* Of one rank, where it computes. */
typedef struct plan_bytes {
    int64_t weights;       /* that passes read: whole units, or this rank's slices of them */
    int64_t gradients;     /* their sums, likewise */
    int64_t states;        /* moments and masters */
    int64_t activations;   /* what the layers keep for backward */
    int64_t scratch;       /* what they share, logits, the batch; what questions are answered in */
    int64_t communication; /* units that are whole only while they are used */
    int64_t library;       /* driver and libraries */
} plan_bytes;

/* Of a step. */
typedef struct plan_seconds {
    double compute;
    double communication; /* if nothing were computed meanwhile */
    double hidden;        /* of that, beside computing */
    double offload;       /* in which states travel to the host and back (optim.offload) */
} plan_seconds;

enum { PLAN_ADVICE = 4, PLAN_ADVICE_BYTES = 160 };

typedef struct plan {
    plan_bytes bytes;
    int64_t peak_bytes;
    const char *peak_at; /* when that is */
    int64_t host_bytes;  /* of a GPU's host: states (optim.offload) */
    int64_t copy_bytes;  /* of the host: the copy of a checkpoint that is being written; less where memory is
                            short, and then saving takes longer */
    bool fits;
    int64_t parameters;
    int64_t checkpoint_bytes; /* files of one */
    int checkpoints;          /* that there are at a time */
    int64_t total_bytes;      /* files of all these */
    double flops_per_step;    /* of all ranks. What is computed again does not count */
    double bytes_sent;        /* of a rank in a step */
    plan_seconds seconds;
    /* Where it does not fit: settings that do, each by itself, as for the command line. */
    char advice[PLAN_ADVICE][PLAN_ADVICE_BYTES];
    int advices;
} plan;

/* The options fit the ranks (training_check). */
void plan_make(plan *p, const plan_run *r);

/* FLOP/s of a rank with the types of the run, and bytes per second between ranks. */
double plan_peak_flops(const plan_run *r);
double plan_bandwidth(const plan_run *r);

static inline double plan_step_seconds(const plan *p)
{
    return p->seconds.compute + p->seconds.communication - p->seconds.hidden + p->seconds.offload;
}

#endif
