/* Conversion layer by layer, by either method. Residual streams of the calibration text go through the layers
 * side by side, the original's and those of the models made from it, so that each layer is made from the
 * inputs that it will see. Only one layer is in memory at a time, beside the embedding, the head and the rows
 * of the streams; TransMLA's method also keeps the attention of all layers. docs/CONVERSION.md has the
 * formulas. */
#ifndef REMLA_MODEL_CONVERT_LAYERWISE_H
#define REMLA_MODEL_CONVERT_LAYERWISE_H
#include "base/comm.h"
#include "base/token_batch.h"
#include "kernels/kernels.h"
#include "model/convert/convert.h"

/* Reports on the conversion of one layer. Errors are root mean squares over the calibration text, as shares
 * of the original attention's output (NAN where that is zero): the converted attention's output against its
 * target, which is the original's output and half of the error that the residual stream has accumulated. */
typedef struct layer_report {
    rope_division division;        /* owned */
    double key_share, value_share; /* of the energy of the keys, kept by rotary key and latent, and of the
                                      values; the latent without its constant channel */
    double latent_rms;             /* of the latent before its norm */
    double channel_error;          /* relative standard deviation of the constant channel; NAN without one */
    double error_cut;              /* before refitting */
    double error_refit;            /* after it */
    double seconds;
} layer_report;

/* Losses on held-out text, with the layers converted up to a step. */
typedef enum convert_step {
    STEP_ORIGINAL,
    STEP_ROPE,
    STEP_CUT,
    STEP_NORM,
    STEP_FINAL,
    CONVERT_STEPS
} convert_step;

typedef struct step_loss {
    bool measured;
    double loss; /* the mean; may be infinite or NAN */
} step_loss;

typedef struct layers_report {
    layer_report *layer; /* (layers) owned; NULL for METHOD_TRANSMLA */
    int64_t layers;
    int64_t freqfold;                  /* of all layers; 0: each has its own */
    double loss_source, loss_mla;      /* on the calibration text */
    step_loss held_out[CONVERT_STEPS]; /* on held-out text */
} layers_report;

typedef struct layers_job {
    convert_method method;
    const ops *k;       /* what the layers are computed on; with activations of float or double */
    const char *source; /* model folder */
    const dims *d;      /* its shape */
    const convert_settings *settings;
    const token_batch *text, *held_out; /* held_out may have no sequences; both are the same on every rank */
    dtype storage;                      /* of the result */
    const char *folder;                 /* exists; gets the weights (model_writer) */
    const comm *c;
} layers_job;

/* Gives the memory and work that a conversion needs on every rank. */
typedef struct layers_plan {
    int64_t weight_bytes; /* of the program, the layers in memory, embedding and head, and the activations of
                             a chunk */
    int64_t text_bytes;   /* ids and rows of both texts: all that grows with them */
    int64_t solve_bytes;  /* Gram matrices and the linear algebra of a layer, in double */
    double flops_f32, flops_f64;
} layers_plan;
/* Computes the plan; of the texts only the sizes are read. */
layers_plan layers_plan_of(const layers_job *j);
int64_t layers_plan_bytes(const layers_plan *p); /* memory in all */
/* ERR_INPUT when there is too little text for what the method determines from it. */
status layers_text_check(const layers_job *j, message *why);

/* Converts. ERR_INPUT when there is too little text, an activation or the original's loss on the calibration
 * text is not finite, or a weight cannot be written. DIVERGED when the original's loss is finite and that of
 * the result, or of TransMLA's partial-RoPE model, is not. A loss on held-out text may be anything. The
 * caller ends with layers_report_free, whatever it returns. MPI: collective; the windows are dealt out to the
 * ranks, every rank returns the same. */
status convert_layers(const layers_job *j, layers_report *report, message *why);
void layers_report_free(layers_report *r);

#endif
