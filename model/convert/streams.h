/* Private to model/convert/: text on its way through single layers, a chunk of windows at a time. */
#ifndef REMLA_MODEL_CONVERT_STREAMS_H
#define REMLA_MODEL_CONVERT_STREAMS_H
#include "base/comm.h"
#include "model/convert/convert.h"

/* This rank's part of a text: windows are dealt out in turn, so that any number of ranks reads the same
 * windows at the same time. */
typedef struct text_share {
    int64_t windows, rows, T;  /* of this rank; rows = windows * T */
    int64_t B;                 /* windows in a chunk */
    int rank, size;            /* window i here is window i * size + rank of the text */
    int32_t *tokens, *targets; /* (rows) owned */
    int32_t *first;            /* (rows) owned, or NULL: no document mask */
} text_share;
/* Its size, without ids: of `text` only T and windows are read. */
text_share text_share_of(const calibration *text, const comm *c);
void text_share_init(text_share *s, const calibration *text, const comm *c);
void text_share_free(text_share *s);

/* Rows [row, row+rows) of this rank; whole windows, at most B. */
typedef struct chunk {
    int64_t row, rows;
} chunk;
chunk chunk_first(const text_share *s);
chunk chunk_next(const text_share *s, chunk c);
#define EACH_CHUNK(c, share) for (chunk c = chunk_first(share); c.rows > 0; c = chunk_next(share, c))

/* Rows of activations in host memory, (rows,width). */
float *rows_new(const text_share *s, int64_t width);
void chunk_upload(const ops *k, tensor *to, const float *rows, chunk c);
void chunk_download(const ops *k, float *rows, const tensor *from, chunk c);
/* The rows of `from` that belong to the chunk, as doubles. */
void chunk_read(const ops *k, double *out, const tensor *from, chunk c);

/* Lays out `a` for chunks of the text through models of m's shape: every position sees its whole past, until
 * stream_advance says otherwise. */
void stream_activations(activations *a, const text_share *s, const model *m);
/* The residual stream before the first layer. */
void stream_embed(float *x, const text_share *s, const model *ends, activations *a);
/* x through the only layer of m, in place. */
void stream_advance(float *x, const text_share *s, const model *m, activations *a);
/* Mean loss over the text of all ranks from the residual stream after the last layer, with the final norm
 * and head of `ends`. Collective. */
double stream_loss(const float *x, const text_share *s, const model *ends, activations *a, const comm *c);

#endif
