/* Windows of tokens in host memory, on their way from a dataset to the model. */
#ifndef REMLA_EVAL_BATCH_H
#define REMLA_EVAL_BATCH_H
#include "data/dataset.h"
#include "model/model.h"

typedef struct host_batch {
    int64_t sequences, T;
    int32_t *tokens, *targets, *first; /* (sequences,T) each */
} host_batch;

void host_batch_init(host_batch *b, int64_t sequences, int64_t T);
void host_batch_free(host_batch *b);
/* Fills row `row` with a window; *counted gains its counted targets. */
status host_batch_read(host_batch *b, int64_t row, const dataset *data, int64_t window, int64_t *counted,
                       message *why);
/* Fills row `row` with a sequence of which nothing counts. */
void host_batch_blank(host_batch *b, int64_t row);
/* The micro-batch that starts at row `row`. Borrows the memory. */
model_batch host_batch_view(const host_batch *b, int64_t row);

#endif
