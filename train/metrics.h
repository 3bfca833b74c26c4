/* RUN/metrics.jsonl: one JSON object per line. A training step: step, loss, grad_norm, lr, tokens (trained on
 * so far), tok_s, seconds (of this step), data_wait (seconds of these without data), mem (MiB, largest
 * resident size of rank 0). A validation: step, val_loss, val_ppl, val_tokens. Numbers are written so that
 * reading them gives the same bits. NaN and infinity are null.
 *
 * A run that resumes reads its past losses and validations back. Lines that cannot be written wait in memory,
 * with one warning, until they can: a failing metrics file does not end a run. */
#ifndef REMLA_TRAIN_METRICS_H
#define REMLA_TRAIN_METRICS_H
#include "base/file.h"
#include "eval/evaluate.h"
#include "train/loss_watch.h"

typedef struct validation {
    int64_t step;
    double loss;
} validation;

typedef struct metrics {
    int fd; /* -1 on ranks other than 0 */
    char path[PATH_BYTES];
    char *waiting; /* lines that are not in the file yet */
    int64_t bytes;
    bool failing;    /* the last write failed, and a warning has said so */
    validation *val; /* of this run so far, on rank 0 */
    int vals;
} metrics;

typedef struct step_metrics {
    int64_t step, tokens;
    double loss, grad_norm, rate, tok_s, seconds, data_wait;
} step_metrics;

/* Opens RUN/metrics.jsonl for appending after the lines of steps up to `step` (-1: none), and drops later
 * lines, of work that was lost. Warns of lines that cannot be read, which stay, and of missing steps. Adds
 * the losses of the steps to `watch`. Rank 0 only; does nothing on others. On failure nothing is open. */
status metrics_open(metrics *m, const char *run, int64_t step, int rank, loss_watch *watch, message *why);
/* Appends the line of a step, or of a validation. */
void metrics_step(metrics *m, const step_metrics *s);
void metrics_validation(metrics *m, int64_t step, const evaluation *e);
/* Makes the lines durable, as far as they can be written. Call before the checkpoint of their last step. */
void metrics_sync(metrics *m);
/* Continues in the file of another run folder. */
status metrics_move(metrics *m, const char *run, message *why);
void metrics_close(metrics *m);

#endif
