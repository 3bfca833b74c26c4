/* A batch of tokens: sequences in host memory, on their way from shards to a model. */
#ifndef REMLA_BASE_TOKEN_BATCH_H
#define REMLA_BASE_TOKEN_BATCH_H
#include <stdint.h>

typedef struct token_batch {
    int64_t sequences, T;
    int32_t *tokens;  /* (sequences,T) ids that the model reads */
    int32_t *targets; /* (sequences,T) id that follows each token, -1: not counted in the loss */
    int32_t *first;   /* (sequences,T) first position that each position attends to */
} token_batch;

/* Allocates the arrays, all zero; token_batch_free gives them back. */
void token_batch_init(token_batch *b, int64_t sequences, int64_t T);
void token_batch_free(token_batch *b);

/* Returns sequences [from, from + count) of b. Borrows b's memory. */
token_batch token_batch_view(const token_batch *b, int64_t from, int64_t count);
/* Fills sequence `i` with sequence `j` of `from`, which has the same T. */
void token_batch_copy(token_batch *b, int64_t i, const token_batch *from, int64_t j);
/* Fills sequence `i` with zeros of which no target counts: it goes through a model and changes no sum. */
void token_batch_blank(token_batch *b, int64_t i);
/* Returns the number of targets that count. */
int64_t token_batch_counted(const token_batch *b);

#endif
