/* Random weights for the models whose speed is measured. */
#ifndef REMLA_BENCH_RANDOM_MODEL_H
#define REMLA_BENCH_RANDOM_MODEL_H
#include "base/memory.h"
#include "base/splitmix.h"
#include "model/model.h"
#include <stdlib.h>

/* Any numbers will do. *state counts them. */
static inline uint64_t random_next(uint64_t *state) { return splitmix(0, (*state)++); }

/* Uniform with this standard deviation. */
static inline float random_number(uint64_t *state, float deviation)
{
    return ((float)(random_next(state) >> 40) / (float)(1 << 24) - 0.5f) * 3.4641f * deviation;
}

/* Matrices uniform with standard deviation 0.02, norms 1. */
static inline void random_weights(model *m)
{
    uint64_t state = 1;
    for (int i = 0; i < m->table.count; i++) {
        const param *p = &m->table.param[i];
        float *values = memory_new(p->numel, sizeof *values, "%s", p->name);
        for (int64_t n = 0; n < p->numel; n++) values[n] = p->rank == 1 ? 1.f : random_number(&state, 0.02f);
        tensor t = weights_param(&m->w, p);
        m->k->upload(&t, values, m->k->stream);
        free(values);
    }
}

#endif
