/* Asks a model the questions of tasks. They are read, encoded and planned once, and asked any number of
 * times. */
#ifndef REMLA_EVAL_TASKS_SUITE_H
#define REMLA_EVAL_TASKS_SUITE_H
#include "eval/tasks/encode.h"

typedef struct suite_settings {
    const char *tasks;  /* "arc_easy,piqa", or "all": the built-in ones */
    const char *folder; /* with TASK.jsonl or TASK.jsonl.gz, and TASK.yaml of tasks that are not built in */
    task_style style;
    int64_t limit; /* questions of each task, of each group where it has groups; 0: all */
    int shots;     /* examples before each question of the tasks that have examples */
    int64_t rows;  /* tokens of a pass; decides no result */
} suite_settings;

enum { MOST_TASKS = 64 };

typedef struct task_suite {
    task_style style;
    recipe task[MOST_TASKS];
    const char *name[MOST_TASKS];
    int tasks;
    question_list questions;
    score_request *request; /* of every choice of every question, in this order */
    int64_t requests;
    score_plan *plan;
} task_suite;

/* The model that is asked. */
typedef struct suite_model {
    const char *folder; /* with its tokenizer */
    int64_t V;
    int64_t positions; /* that it takes at most; 0: it does not say */
} suite_model;

/* ERR_USAGE: a task that there is not, or that is named twice, shots where no task takes them. ERR_INPUT: a
 * file, a line, a question. The caller ends with suite_close, whatever the status. Not collective; every rank
 * opens the same suite. */
status suite_open(task_suite *s, const suite_settings *settings, const suite_model *m, const comm *c,
                  message *why);
void suite_close(task_suite *s); /* or one of zeros */

/* Asks the model of `x`, which has what score_plan_settings(s->plan) says. logprob (requests) is the same on
 * every rank. DIVERGED: some log-probability is not a finite number. `progress`: lines on standard error,
 * where it takes long. MPI: collective. */
status suite_run(const task_suite *s, decoder *x, const comm *c, bool progress, double *logprob,
                 score_work *work, message *why);

#endif
