/* RUN/metrics.jsonl: one JSON object per line. A training step: step, loss, grad_norm, lr, tokens (trained on
 * so far), tok_s, seconds (of this step), data_wait (seconds of these without data), mem (MiB, largest
 * resident size of rank 0). A validation: step, val_loss, val_ppl, val_tokens. Numbers are written so that
 * reading them gives the same bits; what is not finite is null. */
#ifndef REMLA_TRAIN_METRICS_H
#define REMLA_TRAIN_METRICS_H
#include "base/status.h"
#include "train/evaluate.h"
#include <stdio.h>

typedef struct metrics {
    FILE *out; /* NULL on ranks other than 0 */
    char path[PATH_BYTES];
} metrics;

typedef struct step_metrics {
    int64_t step, tokens;
    double loss, grad_norm, rate, tok_s, seconds, data_wait;
} step_metrics;

/* Opens RUN/metrics.jsonl for appending after the lines of steps up to `step`; later ones, of work that was
 * lost, are dropped. */
status metrics_open(metrics *m, const char *run, int64_t step, int rank, message *why);
status metrics_step(metrics *m, const step_metrics *s, message *why);
status metrics_validation(metrics *m, int64_t step, const evaluation *e, message *why);
void metrics_close(metrics *m);

#endif
