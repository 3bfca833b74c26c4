/* eval.seq_len and eval.micro_batch. Where they are auto, train.seq_len and train.micro_batch count when they
 * are set: their names before there was a section `eval`. A line of the log says so. */
#ifndef REMLA_TRAIN_EVAL_OPTIONS_H
#define REMLA_TRAIN_EVAL_OPTIONS_H
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

#endif
