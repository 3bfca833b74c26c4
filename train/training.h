/* A training run: what it needs, and one step of it. */
#ifndef REMLA_TRAIN_TRAINING_H
#define REMLA_TRAIN_TRAINING_H
#include "data/feed.h"
#include "data/loader.h"
#include "model/hf/config.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "train/benchmarks.h"
#include "train/checkpoint.h"
#include "train/patience.h"
#include "train/rank_check.h"
#include "train/stragglers.h"
#include "eval/compute.h"
#include "train/options/options.h"

typedef struct training {
    const options *o;
    const comm *c;
    compute backend;     /* what it computes on */
    json_t *environment; /* and with: train/environment.h */
    model_config config;
    feed data;
    dataset held_out;     /* held_out.samples is 0 without data.val */
    benchmarks questions; /* of eval.tasks */
    model m;              /* its weights are in `parameters` */
    activations acts;     /* of a micro-batch; validation runs in them too */
    shards parameters;
    optimizer opt; /* of the parameters */
    arena parameters_arena, optimizer_arena;
    arena offload_arena; /* optim.offload: pinned memory of the host */
    schedule rate;
    loader *loader;         /* reads this rank's sequences of a step ahead */
    int64_t sequences;      /* of a step, over all ranks */
    int64_t steps;          /* of the whole run */
    checkpoint_state state; /* where it stands */
    bool gradients_dumped;  /* debug.dump_gradients has been written */
    checkpoint_writer *writer;
    patience patience; /* how long ranks wait for each other in a step */
    rank_check check;
    stragglers slow; /* ranks */
    int64_t *told;   /* (1+2*ranks) what ranks tell each other in a step */
    int64_t own;     /* nanoseconds of the last step in which this rank waited for no other */
} training;

typedef struct step_result {
    double loss;      /* mean over the counted targets of the step, before its update */
    double grad_norm; /* of the mean loss, before clipping */
    double rate;
    double data_wait;   /* seconds until the windows were there, of the rank that waited longest */
    double device_wait; /* seconds in which this rank waited for its device, which may wait for others' */
    bool skipped;       /* loss or gradient was not finite: the weights were left as they were */
    int signal;         /* a signal that some rank has received, or 0 */
} step_result;

/* Checks the options that must go with the number of ranks: ERR_USAGE. */
status training_check(const options *o, int ranks, message *why);

/* Reads config, data and weights of the run and lays it out. MPI: collective; every rank returns the same
 * status. */
status training_open(training *t, const options *o, const comm *c, message *why);
void training_close(training *t);

/* Continues from a checkpoint folder. When it is of another model or other data (ERR_INPUT), or options
 * differ that decide the batches (ERR_USAGE), the sentence names the first difference. MPI: collective. */
status training_resume(training *t, const char *checkpoint, message *why);

/* One optimizer step: reads the step's windows, forward and backward over the micro-batches, sums over ranks,
 * clips, updates. A device gets all of it as one queue; only the result is waited for. ERR_DATA when the
 * windows cannot be read or no target counts: weights, moments and place are those of the step before.
 * ERR_DEVICE when a check of the ranks finds a fault (rank_check.h): before the update. MPI:
 * collective; every rank returns the same status. */
status training_step(training *t, step_result *r, message *why);

#endif
