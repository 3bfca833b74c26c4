/* Private to model/convert/: a text as rows of a residual stream, on their way through the layers of a model,
 * a chunk of windows at a time. */
#ifndef REMLA_MODEL_CONVERT_STREAMS_H
#define REMLA_MODEL_CONVERT_STREAMS_H
#include "base/comm.h"
#include "model/convert/convert.h"
#include "model/convert/layer_model.h"

/* This rank's part of a text: windows are dealt out in turn, so that any number of ranks reads the same
 * windows at the same time. */
typedef struct text_share {
    text_kind kind;
    token_batch ids; /* of this rank; owned. Window i here is window i * ranks + rank of the text */
    int64_t B;       /* windows in a chunk */
} text_share;
/* Returns its sizes, without memory for ids: of `text` only the sizes are read. */
text_share text_share_of(text_kind kind, const token_batch *text, const comm *c);
void text_share_init(text_share *s, text_kind kind, const token_batch *text, const comm *c);
void text_share_free(text_share *s);
int64_t text_share_rows(const text_share *s); /* windows * T */

/* Rows [row, row+rows) of this rank; whole windows, at most B. */
typedef struct chunk {
    int64_t row, rows;
} chunk;
chunk chunk_first(const text_share *s);
chunk chunk_next(const text_share *s, chunk c);
#define EACH_CHUNK(c, share) for (chunk c = chunk_first(share); c.rows > 0; c = chunk_next(share, c))

/* Rows of activations in host memory, (rows,width), zero. */
float *text_share_rows_new(const text_share *s, int64_t width);
void chunk_upload(const ops *k, tensor *to, const float *rows, chunk c);
void chunk_download(const ops *k, float *rows, const tensor *from, chunk c);
/* The rows of `from` that belong to the chunk, as doubles. */
void chunk_read(const ops *k, double *out, const tensor *from, chunk c);

/* A text's residual stream. Its rows stay in host memory, so that the device holds one chunk and one layer.
 */
typedef struct stream {
    const text_share *text;
    layer_model *through; /* whose layer it goes through next */
    activations *acts;    /* of that model, for chunks of this text */
    bool original; /* begins and ends with the original's embedding, final norm and head, and not with those
                      that are written */
    float *x;      /* (rows,C) owned */
    double loss;   /* after the last layer: the mean over the text of all ranks */
} stream;
void stream_init(stream *s, const text_share *text, layer_model *through, bool original);
void stream_free(stream *s);
/* The rows before the first layer, from the embedding of `source`. */
void stream_embed(stream *s, layer_model *source);
/* Through the layer that the model has now. */
void stream_advance(stream *s);
/* Fills s->loss from the rows after the last layer, with the final norm and head of `source`. Collective. */
void stream_finish(stream *s, layer_model *source, const comm *c);

#endif
