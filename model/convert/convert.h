/* Conversion of a GQA model to MLA: its settings and the shape of its result. The keys' rotation is
 * concentrated in Dr dimensions that all heads share (RoRoPE, FreqFold). What is left of the keys and the
 * values is cut to R dimensions, the latent. model/convert/layerwise.h converts; docs/CONVERSION.md has the
 * formulas. */
#ifndef REMLA_MODEL_CONVERT_CONVERT_H
#define REMLA_MODEL_CONVERT_CONVERT_H
#include "base/status.h"
#include "model/dims.h"

/* The words of convert.method: the steps of TransMLA's converter (arXiv:2502.07864), or this project's own.
 */
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

/* Neighbouring frequencies that one rotation mixes, with those of all groups: `count` from index `from`,
 * multiples of D/Dr. Their features are complex numbers, one per group and frequency. */
typedef struct rope_set {
    int64_t from, count;
} rope_set;

/* Sets that cover all frequencies, in order. */
typedef struct rope_division {
    rope_set *set; /* owned */
    int64_t sets;
} rope_division;

/* Checks that a model of shape `d` can be converted with these settings. ERR_USAGE names the option, its
 * value and what would work. */
status convert_check(const dims *d, const convert_settings *s, message *why);

/* The shape of the result. */
dims convert_dims(const dims *source, const convert_settings *s);

/* That of a model of which only the rotary part is converted: nothing is cut, its latent has full rank. */
dims convert_rotary_dims(const dims *source, const convert_settings *s);

/* The FreqFold to try after `last` (0: the first): the one that is given, or D/Dr, twice that and so on up to
 * D/2, as far as they fit. 0 when there is none left. */
int64_t convert_freqfold_next(const dims *d, const convert_settings *s, int64_t last);

#endif
