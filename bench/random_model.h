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

/* A unit of `padded` elements for the caller to free. Matrices uniform with standard deviation 0.02, norms 1.
 */
static inline float *random_unit(const param_table *t, int u, int64_t padded)
{
    uint64_t state = (uint64_t)(u + 1) << 40;
    float *full = memory_new(padded, sizeof *full, "unit %d", u);
    for (int i = t->unit_first[u]; i < t->unit_first[u + 1]; i++) {
        const param *p = &t->param[i];
        for (int64_t n = 0; n < p->numel; n++)
            full[p->offset + n] = p->rank == 1 ? 1.f : random_number(&state, 0.02f);
    }
    return full;
}

static inline void random_weights(model *m)
{
    for (int u = 0; u < m->table.num_units; u++) {
        float *full = random_unit(&m->table, u, m->w.unit[u].dim[0]);
        m->k->upload(&m->w.unit[u], full, m->k->stream);
        free(full);
    }
}

#endif
