/* Weights of a model for tests: uniform and centred, those of norms around 1; the same on every table of ops
 * that holds them. */
#ifndef REMLA_TESTS_SUPPORT_RANDOM_WEIGHTS_H
#define REMLA_TESTS_SUPPORT_RANDOM_WEIGHTS_H
#include "base/memory.h"
#include "model/model.h"
#include "tests/support/draw.h"
#include <stdlib.h>
#include <string.h>

/* `projections`, `others`: the widths of the intervals of the *_proj tensors and of the other ones. */
static inline void random_weights(model *m, double projections, double others)
{
    uint64_t state = 7;
    for (int i = 0; i < m->table.count; i++) {
        const param *p = &m->table.param[i];
        const double middle = strstr(p->name, "norm") ? 1 : 0,
                     width = strstr(p->name, "_proj") ? projections : others;
        float *values = memory_new(p->numel, sizeof *values, "%s", p->name);
        for (int64_t n = 0; n < p->numel; n++)
            values[n] = (float)(middle + (draw_uniform(&state) - 0.5) * width);
        tensor w = weights_param(&m->w, p);
        m->k->upload(&w, values, m->k->stream);
        free(values);
    }
}

#endif
