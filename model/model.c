/* The whole model: its memory, then embedding, layers and final norm, forward and backward. */
#include "model/model.h"
#include "base/status.h"
#include "model/block.h"
#include "model/loss.h"

/* ---- memory -------------------------------------------------------------------------------------------- */

int64_t model_bytes(const dims *d, const ops *k)
{
    param_table table;
    weights w;
    arena size = {.name = "weights"};
    param_table_init(&table, d);
    weights_init(&w, d, &table, k->act, 1, &size);
    weights_free(&w);
    param_table_free(&table);
    return size.used;
}

/* Units of `type`, laid out as the model's table says. */
static void units_init(weights *w, const model *m, dtype type, int64_t pad, arena *memory)
{
    arena size = {.name = memory->name};
    weights_init(w, &m->d, &m->table, type, pad, &size);
    weights_free(w);
    arena_reserve(memory, size.used);
    weights_init(w, &m->d, &m->table, type, pad, memory);
}

static void units_zero(weights *w, const ops *k)
{
    for (int u = 0; u < w->num_units; u++) k->zero(&w->unit[u], k->stream);
}

void model_init(model *m, const dims *d, const ops *k, int64_t pad)
{
    *m = (model){.d = *d, .k = k, .memory = {.name = "weights", .device = k->device}};
    param_table_init(&m->table, d);
    units_init(&m->w, m, k->act, pad, &m->memory);
    units_zero(&m->w, k);
}

void model_free(model *m)
{
    weights_free(&m->w);
    param_table_free(&m->table);
    arena_release(&m->memory);
    *m = (model){0};
}

void gradients_init(gradients *g, const model *m)
{
    *g = (gradients){.memory = {.name = "gradients", .device = m->k->device}};
    units_init(&g->sum, m, m->k->real, m->w.pad, &g->memory);
    units_zero(&g->sum, m->k);
}

void gradients_free(gradients *g)
{
    weights_free(&g->sum);
    arena_release(&g->memory);
    *g = (gradients){0};
}

/* ---- forward and backward ------------------------------------------------------------------------------ */

void model_forward(const model *m, activations *a, const model_batch *batch)
{
    const ops *k = m->k;
    k->upload_i32(&a->tokens, batch->tokens, k->stream);
    k->upload_i32(&a->first, batch->first, k->stream);
    activations_continue(a, k);

    k->embedding_forward(&a->layer[0].x, &a->tokens, &m->w.embed, k->stream);
    for (int l = 0; l < m->d.L; l++) {
        /* Without backward one set of activations serves all layers, and a layer may overwrite its own input.
         */
        const bool final = l + 1 == m->d.L;
        block_forward(m, &m->w.layer[l], a, l, final ? &a->last : &activations_layer(a, l + 1)->x);
    }
    k->rmsnorm_forward(&a->hidden, &a->last_rstd, &a->last, &m->w.final_norm, m->d.norm_eps, k->stream);
}

static void unit_done(const gradients *g, int unit)
{
    if (g->unit_done) g->unit_done(g->unit_context, unit);
}

void model_backward(const model *m, activations *a, gradients *g)
{
    REQUIRE(a->use == FORWARD_AND_BACKWARD, "the activations were laid out without backward");
    const ops *k = m->k;
    k->rmsnorm_backward(&a->dx, &g->sum.final_norm, &a->dhidden, &a->last, &m->w.final_norm, &a->last_rstd,
                        k->stream);
    unit_done(g, (int)m->d.L + 1);
    for (int l = (int)m->d.L - 1; l >= 0; l--) {
        block_backward(m, &m->w.layer[l], &g->sum.layer[l], a, l);
        unit_done(g, l + 1);
    }
    k->embedding_backward(&g->sum.embed, &a->dx, &a->tokens, k->stream);
    unit_done(g, 0);
}

double model_evaluate(const model *m, activations *a, const model_batch *batch)
{
    model_forward(m, a, batch);
    loss_zero(m, a);
    loss_forward(m, a, batch->targets);
    return loss_sum(m, a);
}

void model_train(const model *m, activations *a, gradients *g, const model_batch *batch)
{
    model_forward(m, a, batch);
    loss_backward(m, a, g, batch->targets);
    model_backward(m, a, g);
}

double model_flops_per_token(const dims *d, int64_t T)
{
    const bool mla = d->kind == ATTENTION_MLA;
    double products = 0; /* weights that multiply an activation */
#define MLA mla
#define P(field, name, rows, cols, present)                                                                  \
    if (present) products += (double)(rows) * (double)(cols);
#include "model/params.def"
#undef P
#undef MLA
    const double qk = (double)(mla ? d->Dn + d->Dr : d->D), v = (double)(mla ? d->Dv : d->D);
    const double attention = 6.0 * (double)d->H * (qk + v) * (double)(T + 1) / 2;
    return (double)d->L * (6 * products + attention) + 6 * (double)d->V * (double)d->C;
}
