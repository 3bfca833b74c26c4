/* Private to model/convert/: what a conversion works on, whatever its method. */
#ifndef REMLA_MODEL_CONVERT_WORK_H
#define REMLA_MODEL_CONVERT_WORK_H
#include "model/convert/layer_model.h"
#include "model/convert/layerwise.h"
#include "model/convert/pieces.h"
#include "model/convert/streams.h"

enum { MOST_STREAMS = 8, PROGRESS_BYTES = 96 };

typedef struct conversion_work {
    const layers_job *job;
    layers_report *report;
    text_share text[TEXTS];
    layer_model source;          /* one layer of the original, and embedding, final norm and head */
    layer_model target;          /* one layer of the result */
    layer_model rotary;          /* one layer of which only the rotary part is converted; use work_rotary */
    stream stream[MOST_STREAMS]; /* of the pass that runs, in the order in which they were opened */
    int streams;
    double *chunk_rows;            /* activations of a chunk in double: (N,widest) */
    double *chunk_augmented;       /* [h;1] of a chunk, or its errors: (N,C+1) */
    double began;                  /* of the pass, clock_seconds */
    char progress[PROGRESS_BYTES]; /* what a pass has to say about the layer that it has done; may be empty */
    void *state;                   /* of the method */
} conversion_work;

static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- work.c ---- */

void work_init(conversion_work *w, const layers_job *j, layers_report *report);
void work_free(conversion_work *w);
layer_model *work_rotary(conversion_work *w);
/* Adds a stream to the pass. NULL when there is no such text. `original` as in stream. */
stream *work_stream(conversion_work *w, text_kind text, layer_model *through, bool original);
void work_close_streams(conversion_work *w);
/* A stream of held-out text goes through the layer; nothing where it is NULL. */
void work_track(stream *held_out);
/* The layer as it is written. */
written_layer work_written(const conversion_work *w, int64_t layer);
/* Publishes a layer for a try: rounded to float, not to what is written. Collective. */
void work_try(conversion_work *w, layer_model *to, mla_layer *l);
/* Copies what the original's layer and that of `to` have in common, as it is. */
void work_copy(conversion_work *w, layer_model *to);
/* Gives w->rotary the original's layer with only its rotary part converted, by the rotation u. Not rounded to
 * what is written, because nobody writes it. Collective. */
void work_try_rotary(conversion_work *w, const gqa_layer *g, const double *u);

/* The widest activations of a layer that are measured in double: inputs with their 1, heads, latents. */
int64_t work_widest_row(const dims *from, const dims *to);
/* The shape of a model of one layer, with embedding and head or without. */
dims work_one_layer(dims d, bool with_embedding);
/* The original's, with the head that the result will have: one of its own where that has one. */
dims work_source_layer(const layers_job *j);

/* ---- measure.c: passes over the calibration text. Collective ---- */

/* inputs (C+1,C+1): the sum of [h;1][h;1]^T over the inputs h of the next attention, where the first token of
 * a window counts `first_weight` times. first_tokens: the same over first tokens alone, or NULL. */
void measure_inputs(conversion_work *w, const stream *s, double first_weight, double *inputs,
                    double *first_tokens);
/* sums (LATENT_KINDS) of the latents of the layer that it goes through next, before their norms. */
void measure_latents(conversion_work *w, const stream *s, latent_sums *sums, bool constant_last);

#endif
