/* Draws the next token from logits. The steps and their order are those of transformers' generate()
 * (generation/logits_process.py and _get_logits_processor): repetition penalty, temperature, top-k, top-p,
 * min-p, then a draw by the probabilities that are left. */
#ifndef REMLA_GENERATE_SAMPLER_H
#define REMLA_GENERATE_SAMPLER_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct sampler_settings {
    double temperature; /* logits are divided by it; 0: greedy, the likeliest token, lowest id of equals */
    int64_t top_k;      /* keep the k likeliest, and what equals the last of them; 0: all */
    double top_p;       /* keep the likeliest whose probabilities reach top_p together; 1: all */
    double min_p;       /* keep what is at least min_p times as likely as the likeliest; 0: all */
    double repetition_penalty; /* logits of tokens that are in the text: negative ones times it, others
                                  divided by it; 1: none */
    uint64_t seed;             /* of the draws */
} sampler_settings;

/* Greedy, and all else off. */
sampler_settings sampler_default(void);
/* ERR_USAGE, with a sentence that names the setting ("top_p is 1.5; ..."), when one is out of its range. */
status sampler_check(const sampler_settings *s, message *why);

/* Room for logits of V tokens to be worked on, shared by samplers that take turns. */
typedef struct sampler_room sampler_room;
sampler_room *sampler_room_new(int64_t V);
void sampler_room_free(sampler_room *r); /* NULL is fine */

/* The state of one text. */
typedef struct sampler sampler;

/* room: borrowed. stream: which of the texts with this seed it is; each has draws of its own, which do not
 * depend on how many texts there are. */
sampler *sampler_new(const sampler_settings *s, sampler_room *room, uint64_t stream);
void sampler_free(sampler *s); /* NULL is fine */

/* Tells which tokens are in the text, of the prompt and those that were chosen. ids in [0,V). */
void sampler_saw(sampler *s, const int32_t *tokens, int64_t count);
/* Returns whether the choice follows from the likeliest token alone: greedy without a penalty. sampler_next
 * is not needed then. */
bool sampler_is_argmax(const sampler *s);
/* Computes the probabilities (V) that tokens are drawn with; greedy: 1 for one of them. Overwrites logits
 * (V). Returns false when those are not finite. */
bool sampler_chances(sampler *s, float *logits, double *chances);
/* Chooses a token; the caller tells with sampler_saw that it is in the text. Overwrites logits (V). Returns
 * -1 when they are not finite. */
int32_t sampler_next(sampler *s, float *logits);

#endif
