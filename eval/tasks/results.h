/* Computes the results of a suite: picks, accuracies, samples, and the table beside an original's. */
#ifndef REMLA_EVAL_TASKS_RESULTS_H
#define REMLA_EVAL_TASKS_RESULTS_H
#include "eval/tasks/suite.h"

/* Shares of questions answered right, from 0 to 1, and their standard errors sqrt(p(1-p)/(n-1)). NaN: there
 * is none. */
typedef struct task_result {
    char name[128];
    int64_t n;
    int shots;
    double acc, acc_stderr;           /* the likeliest choice is the right one */
    double acc_norm, acc_norm_stderr; /* the same with each log-probability divided by its continuation's
                                         characters; NaN where the task has no such score */
} task_result;

typedef struct suite_result {
    task_style style;
    task_result task[MOST_TASKS];
    int tasks;
    double average; /* TransMLA's, of main scores: mmlu, arc (mean of both), piqa, hellaswag, openbookqa,
                       winogrande; NaN unless all are there */
    int64_t questions;
    score_work work; /* seconds are NaN where they are not known */
} suite_result;

/* acc_norm where there is one, else acc. */
double result_score(const task_result *r);
/* Returns the result of this task; NULL: there is none. */
const task_result *result_find(const suite_result *r, const char *name);

/* logprob: of every choice, as suite_run gives them. */
void results_of(suite_result *r, const task_suite *s, const double *logprob, const score_work *work);

/* The object that `remla eval --json` prints: {"style": S, "tasks": {NAME: {"n", "shots", "acc", "acc_norm",
 * ...}}, "average": A}. With an original (NULL: none) also "base", which is the same of the original, and
 * "recovered": {NAME: percent}. The caller owns it. */
json_t *results_json(const suite_result *r, const suite_result *base);
/* Reads such an object from a file. ERR_INPUT when it is none. */
status results_read(suite_result *r, const char *path, message *why);
/* Checks that a result can stand beside: ERR_INPUT unless it is of the same style and has every task of the
 * suite, of as many questions and examples. `what` names it. */
status results_comparable(const suite_result *base, const task_suite *s, const char *what, message *why);

/* The table, on standard output. */
void results_print(const suite_result *r, const suite_result *base);

/* Appends a line of JSON for each question, in the order of the suite. */
status results_samples(file_writer *out, const task_suite *s, const double *logprob, message *why);

#endif
