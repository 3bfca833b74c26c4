/* Tests of conversion: shapes, weights and text small enough to convert in milliseconds. */
#ifndef REMLA_TESTS_TINY_GQA_H
#define REMLA_TESTS_TINY_GQA_H
#include "model/convert/convert.h"
#include "model/model.h"
#include "tests/support/draw.h"
#include "tests/support/random_weights.h"

enum { WINDOWS = 12, T = 9, V = 13 };

static const dims plain = {.kind = ATTENTION_GQA,
                           .L = 2,
                           .V = V,
                           .C = 10,
                           .F = 12,
                           .H = 4,
                           .G = 2,
                           .D = 8,
                           .norm_eps = 1e-5,
                           .rope = {.theta = 100}};

static inline dims biased(dims d)
{
    d.q_bias = d.k_bias = d.v_bias = true;
    return d;
}

/* Projections vary four times as much as the rest. */
static inline void tiny_weights(model *m) { random_weights(m, 2, 0.5); }

typedef struct sample {
    int32_t tokens[WINDOWS * T], targets[WINDOWS * T], first[WINDOWS * T];
} sample;

static inline sample sample_random(uint64_t state)
{
    sample s = {0};
    for (int n = 0; n < WINDOWS * T; n++) {
        s.tokens[n] = (int32_t)(draw_uniform(&state) * V);
        s.targets[n] = (int32_t)(draw_uniform(&state) * V);
    }
    return s;
}

static inline token_batch text_of(sample *s)
{
    return (token_batch){
        .sequences = WINDOWS, .T = T, .tokens = s->tokens, .targets = s->targets, .first = s->first};
}

#endif
