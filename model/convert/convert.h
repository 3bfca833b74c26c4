/* Conversion of a GQA model to MLA: what can be asked for, and TransMLA's method (arXiv:2502.07864), which
 * works on whole models. The keys' rotation is concentrated in Dr dimensions that all heads share (RoRoPE,
 * FreqFold), what is left of the keys and the values is balanced and cut to R principal components. The
 * default method is model/convert/layerwise.h. docs/CONVERSION.md has the formulas of both. All statistics
 * come from a few passes over calibration text; all linear algebra on weights is done in double. */
#ifndef REMLA_MODEL_CONVERT_CONVERT_H
#define REMLA_MODEL_CONVERT_CONVERT_H
#include "model/model.h"

/* The words of convert.method: as TransMLA's converter, or layer by layer (model/convert/layerwise.c). */
typedef enum convert_method { METHOD_TRANSMLA, METHOD_REMLA } convert_method;

typedef enum convert_balance {
    BALANCE_NORM,     /* keys are divided by the ratio of the mean column norms of keys and of values */
    BALANCE_TRANSMLA, /* the same without the first Dr columns of the values, as in TransMLA's code */
    BALANCE_NONE
} convert_balance;

typedef struct convert_settings {
    int64_t rope;            /* Dr of the result */
    int64_t rank;            /* R */
    int64_t q_rank;          /* Rq, 0: queries are not factored */
    int64_t freqfold;        /* adjacent frequencies rotated together; 0: chosen on the calibration text */
    convert_balance balance; /* of METHOD_TRANSMLA */
    bool latent_norm;        /* insert norms on the latents, set so that they change as little as possible */
    bool stock;              /* what a stock DeepSeek-V3 model can hold: a head of its own, biases where
                                attention_bias has them; asks for latent_norm, and for q_rank where the
                                queries have a bias */
} convert_settings;

/* Text in host memory, borrowed. */
typedef struct calibration {
    int64_t windows, T;
    const int32_t *tokens, *targets; /* (windows,T) each; targets -1: not counted in the loss */
    const int32_t *first; /* (windows,T) the first position that each one sees; NULL: every position
                             sees its whole past, as in calibration */
} calibration;

/* The B that activations should be laid out with for this text: as many windows as keep the matrix products
 * busy. */
int64_t calibration_batch(const calibration *text);

typedef struct conversion {
    const model *source;     /* borrowed */
    convert_settings chosen; /* the settings with freqfold decided */
    double **key_gram;       /* per layer: (G*D,G*D) sum over calibration tokens of k k^T, before rotation */
    model mla;               /* the result */
    double loss_source, loss_partial; /* means on the calibration text */
    double loss_mla;                  /* of the result, latent norms included */
} conversion;

/* Whether a model of shape `d` can be converted so. ERR_USAGE names the option, its value and what would
 * work. */
status convert_check(const dims *d, const convert_settings *s, message *why);

/* The shape of the result. */
dims convert_dims(const dims *source, const convert_settings *s);

/* Converts `source` (GQA). Says what it does and how long it takes (base/log.h). ERR_INPUT when there is too
 * little text. On success the caller ends with conversion_free. Not collective. */
status conversion_run(conversion *c, const model *source, const convert_settings *s, const calibration *text,
                      message *why);
void conversion_free(conversion *c);

/* Lays out and fills `m` with the model between the two halves of the conversion: rotation only in Dr
 * shared dimensions, nothing cut off. It is an MLA model of rank 2*G*D-Dr. The caller frees. */
void conversion_partial(const conversion *c, model *m);

#endif
