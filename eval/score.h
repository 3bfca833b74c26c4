/* Log-probabilities of continuations, of many at a time. Tokens that several requests begin with are computed
 * once, whatever they are: the context of a question's choices, the examples before all questions of a
 * subject. Passes are filled with rows of as many requests as fit; no row is padding.
 *
 * On the CPU a request's result depends on its own tokens alone, to the bit (model/decode/decoder.h): not on
 * the other requests, on their order, on `rows` or on the number of ranks. */
#ifndef REMLA_EVAL_SCORE_H
#define REMLA_EVAL_SCORE_H
#include "base/comm.h"
#include "model/model.h"

/* The log-probability, in nats, of the last `scored` tokens given those before them. */
typedef struct score_request {
    int32_t *tokens; /* (count) ids, each in [0,V) */
    int64_t count, scored; /* 1 <= scored < count */
} score_request;

typedef struct score_work {
    int64_t asked, computed; /* tokens of all requests; those that went through the model, once each */
    double seconds;          /* of the rank that took longest */
} score_work;

/* Called on rank 0 after every pass, with how much of its tokens is done. May be NULL. */
typedef void score_progress(void *context, int64_t done, int64_t of);

/* Sums the log-probabilities of each request into out (count), in the order of its tokens. `rows`: tokens of
 * a pass at most. `out` and *work are the same on every rank. MPI: collective; the requests are the same on
 * every rank, which computes its share of them. */
void score_requests(const model *m, const score_request *request, int64_t count, int64_t rows, const comm *c,
                    double *out, score_work *work, score_progress *progress, void *context);

#endif
