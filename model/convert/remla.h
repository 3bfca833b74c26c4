/* Private to model/convert/: what this project's method keeps beside the work that all methods share. */
#ifndef REMLA_MODEL_CONVERT_REMLA_H
#define REMLA_MODEL_CONVERT_REMLA_H
#include "model/convert/refit.h"
#include "model/convert/work.h"

typedef struct remla {
    stream *original, *converted;    /* of the calibration text */
    stream *held_out[CONVERT_STEPS]; /* with the layers converted up to a step; NULL: not tracked */
    float *target;    /* (rows,C) what this layer's attention is to add to the converted stream */
    float *row_rms;   /* (rows) root mean square of the original's stream after attention */
    float *heads;     /* (rows,H*Dv) of the converted attention */
    double *rotation; /* of all layers: rope_rotation_gram; NULL where FreqFold is a number */
    double *inputs, *first_tokens; /* Gram matrices (C+1,C+1) of the converted stream's attention inputs */
    energy_shares kept, kept_beside_channel; /* of this layer, with all of the latent, and without its last */
    refit regression;                        /* of o_proj, on the heads' output */
} remla;

/* ---- remla_measure.c: passes over the calibration text. Collective ---- */

/* The original's layer: fills target and row_rms, advances the original's stream. Returns the energy of the
 * attention's output, as shares of the rows' sizes. */
double remla_original_forward(conversion_work *w, remla *r);
/* Fills the heads and the sums of the regression from the first `windows` windows of the whole text. */
void remla_measure_heads(conversion_work *w, remla *r, int64_t windows);
/* The converted stream through the layer, from the heads that were measured last. */
void remla_converted_forward(remla *r);

/* ---- remla_norms.c ---- */

/* Gives the layer latent norms, the plain ones or those with the constant channel: whichever attention can be
 * brought closer. Without convert.latent_norm only report->latent_rms is measured. Collective. */
void remla_choose_norms(conversion_work *w, remla *r, mla_layer *made, layer_report *report);

#endif
