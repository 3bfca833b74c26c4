/* The line per step on the terminal, and the step's row in metrics.jsonl: speed, share of the machine's peak,
 * memory, time left. */
#ifndef REMLA_TRAIN_PROGRESS_H
#define REMLA_TRAIN_PROGRESS_H
#include "train/metrics.h"
#include "train/training.h"

typedef struct progress {
    double peak_flops; /* of all ranks together */
    double flops_per_step;
    double since;        /* when the running step began */
    int64_t steps;       /* since this process started */
    double step_seconds; /* smoothed, since this process started: what the time left is computed from */
} progress;

/* Prints what is about to run. MPI: collective (the ranks' peaks are added up). */
void progress_start(progress *p, const training *t);
/* After a step: prints its line and writes its row. */
void progress_step(progress *p, const training *t, const step_result *r, metrics *log);
/* The next step begins now. */
void progress_pause(progress *p);

#endif
