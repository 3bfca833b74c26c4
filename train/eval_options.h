/* What the section `eval` says. Where eval.seq_len and eval.micro_batch are auto, train.seq_len and
 * train.micro_batch count when they are set: their names before there was a section `eval`. A line of the log
 * says so. */
#ifndef REMLA_TRAIN_EVAL_OPTIONS_H
#define REMLA_TRAIN_EVAL_OPTIONS_H
#include "eval/tasks/suite.h"
#include "model/hf/config.h"
#include "train/options/options.h"

/* A length in tokens, and the option that says it. */
typedef struct named_length {
    int64_t T;
    const char *key;
} named_length;

/* Returns the length of the sequences of data.val; `otherwise` where no option says it. `command` begins the
 * line of the log. */
named_length eval_length(const options *o, const char *command, named_length otherwise);

/* Sequences at a time in `eval`. */
int64_t eval_micro_batch(const options *o);

/* The style of questions: that of `flag`, the value of --style, or of eval.style where that is NULL.
 * ERR_USAGE: there is no such style. */
status eval_style(task_style *style, const options *o, const char *flag, message *why);

/* A model folder as questions see it; `config` is the folder's, `folder` borrowed. */
suite_model eval_suite_model(const char *folder, const model_config *config);

#endif
