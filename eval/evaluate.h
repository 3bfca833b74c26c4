/* The loss of a model on held-out tokens. */
#ifndef REMLA_EVAL_EVALUATE_H
#define REMLA_EVAL_EVALUATE_H
#include "base/comm.h"
#include "data/dataset.h"
#include "model/model.h"

typedef struct evaluation {
    int64_t tokens;   /* targets counted */
    int64_t read;     /* tokens that went through the model, for the speed */
    double loss, ppl; /* mean over the counted targets, in nats, and its exponential */
    double seconds;
} evaluation;

/* As a limit of tokens. */
enum { ALL_TOKENS = 0 };

/* Returns how many windows of `data` are read for a limit of `limit` tokens, in whole windows. */
int64_t evaluate_windows(const dataset *data, int64_t limit);

/* Runs windows 0, 1, ... of `data` (whose T is a->T) until `limit` tokens are read through the
 * model, a->B at a time, shared out over the ranks. All ranks make the same number of calls of
 * model_evaluate, whichever of them fails. ERR_INPUT when a token cannot be read or none counts; a loss that
 * is not finite, or whose exponential is not, is a result. MPI: collective; every rank gets the same result
 * and status. */
status evaluate(const model *m, activations *a, const dataset *data, int64_t limit, const comm *c,
                evaluation *out, message *why);

/* Returns DIVERGED unless the perplexity is a finite number. */
status evaluation_check(const evaluation *e, const dataset *data, message *why);

#endif
