/* The line of each step on the terminal, and its row in metrics.jsonl: loss, speed, share of the machine's
 * peak, memory, time left. */
#ifndef REMLA_TRAIN_PROGRESS_H
#define REMLA_TRAIN_PROGRESS_H
#include "train/metrics.h"
#include "train/training.h"

typedef struct progress {
    double peak_flops; /* of all ranks together */
    double flops_per_step;
    double since;        /* when the running step began */
    int64_t steps;       /* since this process started */
    double step_seconds; /* of a step, smoothed over the steps of this process; gives the time left */
} progress;

/* Prints model, data and memory of the run. MPI: collective (sums the ranks' peaks). */
void progress_start(progress *p, const training *t);
/* Prints the line of the step just taken and writes its row. */
void progress_step(progress *p, const training *t, const step_result *r, metrics *log);
/* Starts the clock of the next step: validation and saving do not count as its time. */
void progress_pause(progress *p);

#endif
