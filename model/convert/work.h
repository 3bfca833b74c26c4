/* Private to model/convert/: what a conversion by layers works on, and what its streams tell it about the
 * layer at hand. */
#ifndef REMLA_MODEL_CONVERT_WORK_H
#define REMLA_MODEL_CONVERT_WORK_H
#include "model/convert/pieces.h"
#include "model/convert/refit.h"
#include "model/convert/streams.h"

/* Held-out text with the layers converted up to one step. */
typedef struct held_out_stream {
    float *x;       /* NULL: not followed */
    const model *m; /* the step's layer as it is made: source, rotary or target of conversion_work */
    activations acts;
} held_out_stream;

typedef struct conversion_work {
    const layers_job *j;
    model source; /* one layer of the original, and embedding, final norm and head */
    model target; /* one layer of the result */
    model rotary; /* one layer of which only the rotary part is converted; with held-out text only */
    activations source_acts, target_acts; /* of a chunk of the calibration text */
    text_share text, held_out;
    float *original, *converted; /* residual streams, (rows,C) */
    float *wanted;               /* (rows,C) what this layer's attention is to add to the converted one */
    float *size;                 /* (rows) root mean square of the original's stream after attention */
    float *heads;                /* (rows,H*Dv) of the converted attention */
    held_out_stream follow[CONVERT_STEPS];
    double *rotation;               /* of all layers: rotation_gram; NULL where FreqFold is a number */
    double *inputs, *first;         /* Gram matrices (C+1,C+1) of all attention inputs, and of first tokens */
    double *key_gram, *query_grams; /* of this layer: (G*D,G*D) of the keys, (H,D,D) of the heads' queries */
    energy_shares kept, kept_beside_channel; /* of this layer, with all of the latent, and without its last */
    double *a, *b;                           /* of a chunk, in double: (N,widest) */
    refit fit;
} conversion_work;

/* ---- work.c ---- */

void work_init(conversion_work *w, const layers_job *j);
void work_free(conversion_work *w);
/* The streams before the first layer, with the embedding that is in w->source: the original's, or those of
 * all steps that are converted. */
void embed_original(conversion_work *w);
void embed_converted(conversion_work *w);
/* The losses of the streams after the last layer, with the final norm and head that are in w->source. */
void original_losses(conversion_work *w, layers_report *report);
void converted_losses(conversion_work *w, layers_report *report);

/* ---- measure.c: passes over the calibration text. Collective ---- */

/* The original's layer: fills w->wanted and w->size, advances w->original. Returns the energy of the
 * attention's output. */
double original_forward(conversion_work *w);
/* Fills w->inputs and w->first with what the converted model gives its next attention. */
void measure_inputs(conversion_work *w);
/* Fills w->heads and the sums of the regression from the first `most` windows of the whole text. */
void measure_heads(conversion_work *w, int64_t most);
/* sums (LATENT_KINDS) of the layer's latents before their norms. */
void measure_latents(conversion_work *w, latent_sums *sums, bool constant_last);
/* w->converted through the finished layer, whose heads are in w->heads. */
void converted_forward(conversion_work *w);

/* ---- layer_norms.c ---- */

/* The plain latent norm, or the one with the constant channel: whichever attention can be brought closer.
 * Without convert.latent_norm only report->latent_rms is measured. */
void insert_norms(conversion_work *w, layer_report *report);

#endif
