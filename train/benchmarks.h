/* The questions of eval.tasks, asked of the model while it is trained. */
#ifndef REMLA_TRAIN_BENCHMARKS_H
#define REMLA_TRAIN_BENCHMARKS_H
#include "eval/tasks/results.h"
#include "model/hf/config.h"
#include "train/options/options.h"

typedef struct benchmarks {
    task_suite suite; /* suite.tasks is 0 without eval.tasks */
    const comm *c;    /* of the ranks that share the questions out */
    decoder decode;   /* of the model that is trained */
} benchmarks;

/* Reads the questions of eval.tasks, and encodes them with the tokenizer of model.path. Does nothing where
 * no task is set. The ranks of c share the questions out; comm_self(): each answers all, so that all make the
 * same passes. Not collective. The caller ends with benchmarks_close, whatever the status. */
status benchmarks_open(benchmarks *b, const options *o, const model_config *config, const comm *c,
                       message *why);
/* Of the decoder that benchmarks_start reserves; NULL: no task is set. */
const decoder_settings *benchmarks_decoder(const benchmarks *b);
/* Reserves the memory of a decoder over m, which is borrowed. */
void benchmarks_start(benchmarks *b, const model *m);
void benchmarks_close(benchmarks *b);

/* Asks all questions. DIVERGED: some answer is not a finite number. MPI: collective; every rank gets the same
 * result and status. */
status benchmarks_ask(benchmarks *b, suite_result *r, message *why);

/* Prints the scores in a line: "piqa 0.6900 | arc_easy 0.4300", main scores. Returns `buffer`. */
enum { BENCHMARKS_TEXT_BYTES = 1024 };
const char *benchmarks_text(const suite_result *r, char *buffer);

#endif
