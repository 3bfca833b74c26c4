/* Log-probabilities of continuations, of many at a time. Tokens that several requests begin with are computed
 * once, whatever they are: the context of a question's choices, the examples before all questions of a
 * subject. Passes are filled with rows of as many requests as there are; no row is padding.
 *
 * On the CPU a request's result depends on its own tokens alone, to the bit (model/decode/decoder.h): not on
 * the other requests, on their order, on `rows` or on the number of ranks. */
#ifndef REMLA_EVAL_SCORE_H
#define REMLA_EVAL_SCORE_H
#include "base/comm.h"
#include "model/decode/decoder.h"

/* Asks for the log-probability, in nats, of the last `scored` tokens given those before them. */
typedef struct score_request {
    int32_t *tokens;       /* (count) ids, each in [0,V) */
    int64_t count, scored; /* 1 <= scored < count */
} score_request;

/* The work done, over all ranks. */
typedef struct score_work {
    int64_t asked, computed; /* tokens of all requests, if each were read alone; tokens that the model read */
    int64_t passes;
    double seconds; /* of this rank */
} score_work;

/* This rank's share of the requests, and the order in which it computes them. Any number of runs may follow,
 * also of a model whose weights have changed meanwhile. Borrows the requests, which are the same on every
 * rank; `rows`: most tokens of a pass. Not collective. */
typedef struct score_plan score_plan;
score_plan *score_plan_new(const score_request *request, int64_t count, int64_t rows, const comm *c);
void score_plan_free(score_plan *p); /* NULL is fine */
/* Returns the settings of a decoder for it. */
const decoder_settings *score_plan_settings(const score_plan *p);

/* Is told after every pass how many of this rank's tokens are done. May be NULL. */
typedef void score_progress(void *context, int64_t done, int64_t of);

/* Sums the log-probabilities of each request into out (count), in the order of its tokens; the same on every
 * rank. No sequence of x is open, before and after. MPI: collective. */
void score_run(const score_plan *p, decoder *x, const comm *c, double *out, score_work *work,
               score_progress *progress, void *context);

#endif
