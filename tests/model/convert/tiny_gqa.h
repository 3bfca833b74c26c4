/* Tests of conversion: shapes, weights and text small enough to convert in milliseconds. */
#ifndef REMLA_TESTS_TINY_GQA_H
#define REMLA_TESTS_TINY_GQA_H
#include "base/memory.h"
#include "model/convert/convert.h"
#include "model/model.h"
#include "tests/support/draw.h"
#include <stdlib.h>
#include <string.h>

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

/* Random weights that float represents exactly. */
static inline void weights_random(model *m)
{
    uint64_t state = 7;
    for (int i = 0; i < m->table.count; i++) {
        const param *p = &m->table.param[i];
        tensor t = weights_param(&m->w, p);
        float *values = memory_new(p->numel, sizeof *values, "%s", p->name);
        for (int64_t n = 0; n < p->numel; n++)
            values[n] = (float)((strstr(p->name, "norm") ? 1 : 0) +
                                (draw_uniform(&state) - 0.5) * (strstr(p->name, "_proj") ? 2 : 0.5));
        m->k->upload(&t, values, m->k->stream);
        free(values);
    }
}

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
