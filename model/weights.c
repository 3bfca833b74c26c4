/* The weight table and the views into units. model/params.def is expanded twice: into rows of the table, and
 * into the fields of layer_weights in the same order. A row knows its field, so that views are made from the
 * table alone. */
#include "model/weights.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>

/* What the expressions of params.def read beside `d`. */
#define MLA (d->kind == ATTENTION_MLA)

/* ---- the table ----------------------------------------------------------------------------------------- */

static void add(param_table *t, int unit, int field, int64_t rows, int64_t cols, const char *name)
{
    param *p = &t->param[t->count++];
    *p = (param){.unit = unit,
                 .field = field,
                 .offset = t->unit_numel[unit],
                 .rank = cols ? 2 : 1,
                 .dim = {rows, cols ? cols : 1}};
    p->numel = p->dim[0] * p->dim[1];
    const int length = snprintf(p->name, sizeof p->name, "%s", name);
    REQUIRE(length < PARAM_NAME_BYTES, "tensor name '%s' is too long", name);
    t->unit_numel[unit] += p->numel;
    t->unit_first[unit + 1] = t->count;
}

static void add_layer_param(param_table *t, int layer, int field, int64_t rows, int64_t cols,
                            const char *name)
{
    char full[PARAM_NAME_BYTES];
    snprintf(full, sizeof full, "model.layers.%d.%s", layer, name);
    add(t, unit_of_layer(layer), field, rows, cols, full);
}

/* layer_weights holds tensors alone, so that a field can be named by its number. */
enum {
#define P(field, name, rows, cols, present) FIELD_##field,
#include "model/params.def"
#undef P
    NUM_FIELDS
};
_Static_assert(sizeof(layer_weights) == NUM_FIELDS * sizeof(tensor), "layer_weights holds more than tensors");

void param_table_init(param_table *t, const dims *d)
{
    *t = (param_table){.num_units = (int)d->L + 2};
    t->param =
        memory_new(NUM_FIELDS * d->L + 3, sizeof *t->param, "the table of %lld layers", (long long)d->L);
    t->unit_numel = memory_new(t->num_units, sizeof *t->unit_numel, "the sizes of %d units", t->num_units);
    t->unit_first =
        memory_new(t->num_units + 1, sizeof *t->unit_first, "the beginnings of %d units", t->num_units);

    add(t, UNIT_EMBED, 0, d->V, d->C, "model.embed_tokens.weight");
    for (int l = 0; l < d->L; l++) {
#define P(field, name, rows, cols, present)                                                                  \
    if (present) add_layer_param(t, l, FIELD_##field, rows, cols, name);
#include "model/params.def"
#undef P
    }
    t->head_unit = d->tied ? UNIT_EMBED : unit_of_final_norm(t);
    add(t, unit_of_final_norm(t), 0, d->C, 0, "model.norm.weight");
    if (!d->tied) add(t, unit_of_final_norm(t), 0, d->V, d->C, "lm_head.weight");
}

/* ---- views --------------------------------------------------------------------------------------------- */

/* Acquires the unit, and gives parameter `number` of it. */
static tensor view_of(const param_table *t, const units *u, int unit, int number)
{
    const tensor flat = units_acquire(u, unit);
    return param_view(&t->param[t->unit_first[unit] + number], &flat);
}

tensor weights_embed(const param_table *t, const units *u) { return view_of(t, u, UNIT_EMBED, 0); }

layer_weights weights_layer(const param_table *t, const units *u, int layer)
{
    const int unit = unit_of_layer(layer);
    const tensor flat = units_acquire(u, unit);
    layer_weights w = {0};
    for (int i = t->unit_first[unit]; i < t->unit_first[unit + 1]; i++)
        ((tensor *)&w)[t->param[i].field] = param_view(&t->param[i], &flat);
    return w;
}

tensor weights_final_norm(const param_table *t, const units *u)
{
    return view_of(t, u, unit_of_final_norm(t), 0);
}

tensor weights_head(const param_table *t, const units *u)
{
    return view_of(t, u, unit_of_head(t), unit_of_head(t) == UNIT_EMBED ? 0 : 1); /* behind the norm */
}

/* ---- resident ------------------------------------------------------------------------------------------ */

static tensor resident_acquire(void *owner, int unit) { return ((const tensor *)owner)[unit]; }
static void resident_release(void *owner, int unit) { (void)owner, (void)unit; }

units weights_units(const weights *w)
{
    return (units){.acquire = resident_acquire, .release = resident_release, .owner = w->unit};
}

tensor weights_param(const weights *w, const param *p) { return param_view(p, &w->unit[p->unit]); }

void weights_init(weights *w, const param_table *t, dtype type, int64_t pad, arena *a)
{
    REQUIRE(pad >= 1, "units cannot be padded to multiples of %lld", (long long)pad);
    *w = (weights){.num_units = t->num_units, .pad = pad};
    w->unit = memory_new(t->num_units, sizeof *w->unit, "the list of %d units", t->num_units);
    for (int u = 0; u < t->num_units; u++)
        w->unit[u] = arena_tensor(a, type, "unit", (t->unit_numel[u] + pad - 1) / pad * pad);
}

void weights_free(weights *w)
{
    free(w->unit);
    *w = (weights){0};
}
