/* The weight table and the views into units. model/params.def is expanded twice: into rows of the table,
 * and into the fields of layer_weights in the same order, so the two cannot disagree. */
#include "model/weights.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the expressions of params.def read beside `d`. */
#define MLA (d->kind == ATTENTION_MLA)

static void add(param_table *t, int unit, int64_t rows, int64_t cols, const char *name)
{
    param *p = &t->param[t->count++];
    *p = (param){
        .unit = unit, .offset = t->unit_numel[unit], .rank = cols ? 2 : 1, .dim = {rows, cols ? cols : 1}};
    p->numel = p->dim[0] * p->dim[1];
    const int length = snprintf(p->name, sizeof p->name, "%s", name);
    REQUIRE(length < PARAM_NAME_BYTES, "tensor name '%s' is too long", name);
    t->unit_numel[unit] += p->numel;
}

static void add_layer_param(param_table *t, int64_t layer, int64_t rows, int64_t cols, const char *name)
{
    char full[PARAM_NAME_BYTES];
    snprintf(full, sizeof full, "model.layers.%lld.%s", (long long)layer, name);
    add(t, (int)layer + 1, rows, cols, full);
}

void param_table_init(param_table *t, const dims *d)
{
    int per_layer = 0;
#define P(field, name, rows, cols, present) per_layer += (present) ? 1 : 0;
#include "model/params.def"
#undef P
    *t = (param_table){.num_units = (int)d->L + 2};
    t->param = calloc((size_t)(per_layer * d->L + 3), sizeof *t->param);
    t->unit_numel = calloc((size_t)t->num_units, sizeof *t->unit_numel);
    if (!t->param || !t->unit_numel)
        die(ERR_DEVICE, "no memory for the table of %lld layers", (long long)d->L);

    add(t, 0, d->V, d->C, "model.embed_tokens.weight");
    for (int64_t l = 0; l < d->L; l++) {
#define P(field, name, rows, cols, present)                                                                  \
    if (present) add_layer_param(t, l, rows, cols, name);
#include "model/params.def"
#undef P
    }
    add(t, (int)d->L + 1, d->C, 0, "model.norm.weight");
    if (!d->tied) add(t, (int)d->L + 1, d->V, d->C, "lm_head.weight");
}

void param_table_free(param_table *t)
{
    free(t->param);
    free(t->unit_numel);
    *t = (param_table){0};
}

int64_t param_table_numel(const param_table *t)
{
    int64_t numel = 0;
    for (int u = 0; u < t->num_units; u++) numel += t->unit_numel[u];
    return numel;
}

const param *param_find(const param_table *t, const char *name)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->param[i].name, name) == 0) return &t->param[i];
    return NULL;
}

tensor weights_param(const weights *w, const param *p)
{
    const tensor flat = tensor_rows(&w->unit[p->unit], p->offset, p->numel);
    tensor view = tensor_view(&flat, p->rank, p->dim);
    view.name = p->name;
    return view;
}

void weights_init(weights *w, const dims *d, const param_table *t, dtype type, int64_t pad, arena *a)
{
    REQUIRE(pad >= 1, "units cannot be padded to multiples of %lld", (long long)pad);
    *w = (weights){.num_units = t->num_units, .pad = pad};
    w->unit = calloc((size_t)t->num_units, sizeof *w->unit);
    w->layer = calloc((size_t)d->L, sizeof *w->layer);
    if (!w->unit || !w->layer) die(ERR_DEVICE, "no memory for the views of %lld layers", (long long)d->L);
    for (int u = 0; u < t->num_units; u++)
        w->unit[u] = arena_tensor(a, type, "unit", (t->unit_numel[u] + pad - 1) / pad * pad);

    const param *next = t->param;
    w->embed = weights_param(w, next++);
    for (int64_t l = 0; l < d->L; l++) {
#define P(field, name, rows, cols, present)                                                                  \
    if (present) w->layer[l].field = weights_param(w, next++);
#include "model/params.def"
#undef P
    }
    w->final_norm = weights_param(w, next++);
    w->head = d->tied ? w->embed : weights_param(w, next++);
    REQUIRE(next == t->param + t->count, "the table of %d parameters belongs to another model", t->count);
}

void weights_free(weights *w)
{
    free(w->unit);
    free(w->layer);
    *w = (weights){0};
}
