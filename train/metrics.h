/* Records what a run measures, a JSON object per line (train/line_log.h).
 *
 * RUN/metrics.jsonl. A training step: step, loss, grad_norm, lr, tokens (trained on so far), tok_s, seconds
 * (of this step), data_wait (seconds of these without data), mem (MiB, largest resident size of rank 0). A
 * validation: step, val_loss, val_ppl, val_tokens. An event: step, that of the training step that comes next,
 * event, and what belongs to it; "rollback": from, to, why, as in state.json. Numbers are written so that
 * reading them gives the same bits. NaN and infinity are null, and an update was skipped where grad_norm or
 * loss is.
 *
 * RUN/eval.jsonl, where there are eval.tasks: the answers to their questions after a step, as `remla eval
 * --json` prints them, with the step.
 *
 * A run that resumes reads its past losses and validations back. A failing file does not end a run. */
#ifndef REMLA_TRAIN_METRICS_H
#define REMLA_TRAIN_METRICS_H
#include "eval/evaluate.h"
#include "eval/tasks/results.h"
#include "train/checkpoint.h"
#include "train/line_log.h"
#include "train/loss_watch.h"

typedef struct validation {
    int64_t step;
    double loss;
} validation;

typedef struct metrics {
    line_log steps, answers; /* metrics.jsonl and eval.jsonl */
    validation *val;         /* of this run so far, on rank 0 */
    int vals;
    int64_t answered; /* step of the last line of eval.jsonl, on rank 0; -1: none */
} metrics;

typedef struct step_metrics {
    int64_t step, tokens;
    double loss, grad_norm, rate, tok_s, seconds, data_wait;
} step_metrics;

/* Opens both files for appending after the lines of steps up to state->step (0: none), and drops later lines,
 * of work that was lost; eval.jsonl only with `answers`. Then come the events of what was passed over after
 * that step. Warns of lines that cannot be read, which stay, and of missing steps. Adds the losses of the
 * steps to `watch`. Rank 0 only; does nothing on others. On failure nothing is open. */
status metrics_open(metrics *m, const char *run, const checkpoint_state *state, int rank, bool answers,
                    loss_watch *watch, message *why);
/* Appends the line of a step, of a validation, or of answers. */
void metrics_step(metrics *m, const step_metrics *s);
void metrics_validation(metrics *m, int64_t step, const evaluation *e);
void metrics_answers(metrics *m, int64_t step, const suite_result *r);
/* Appends an event between two steps; `step`: of the second. So an event goes with the steps that follow it
 * when these are lost. Takes `fields`, an object, over. */
void metrics_event(metrics *m, int64_t step, const char *event, json_t *fields);
/* Makes the lines durable, as far as they can be written. Call before the checkpoint of their last step. */
void metrics_sync(metrics *m);
/* Continues in the files of another run folder. */
status metrics_move(metrics *m, const char *run, message *why);
void metrics_close(metrics *m);

#endif
