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
    weights_init(&w, &table, k->act, 1, &size);
    weights_free(&w);
    param_table_free(&table);
    return size.used;
}

void model_init_bare(model *m, const dims *d, const ops *k)
{
    *m = (model){.d = *d, .k = k, .memory = {.name = "weights", .device = k->device}};
    param_table_init(&m->table, d);
}

void model_init(model *m, const dims *d, const ops *k, int64_t pad)
{
    model_init_bare(m, d, k);
    arena size = {.name = m->memory.name};
    weights_init(&m->w, &m->table, k->act, pad, &size);
    weights_free(&m->w);
    arena_reserve(&m->memory, size.used);
    weights_init(&m->w, &m->table, k->act, pad, &m->memory);
    for (int u = 0; u < m->w.num_units; u++) k->zero(&m->w.unit[u], k->stream);
    m->units = weights_units(&m->w);
}

void model_free(model *m)
{
    weights_free(&m->w);
    param_table_free(&m->table);
    arena_release(&m->memory);
    *m = (model){0};
}

/* ---- forward and backward ------------------------------------------------------------------------------ */

void model_forward(const model *m, activations *a, const token_batch *batch)
{
    REQUIRE(batch->sequences == a->B && batch->T == a->T,
            "a batch of %lld sequences of %lld tokens, activations of %lld of %lld",
            (long long)batch->sequences, (long long)batch->T, (long long)a->B, (long long)a->T);
    const ops *k = m->k;
    const param_table *t = &m->table;
    const units *w = &m->units;
    k->upload_i32(&a->tokens, batch->tokens, k->stream);
    k->upload_i32(&a->first, batch->first, k->stream);

    const tensor embed = weights_embed(t, w);
    k->embedding_forward(&a->layer[0].x, &a->tokens, &embed, k->stream);
    units_release(w, UNIT_EMBED);
    for (int l = 0; l < m->d.L; l++) {
        /* Without backward one set of activations serves all layers, and a layer may overwrite its own input.
         */
        const bool final = l + 1 == m->d.L;
        const layer_weights layer = weights_layer(t, w, l);
        block_forward(m, &layer, a, l, final ? &a->last : &activations_layer(a, l + 1)->x);
        units_release(w, unit_of_layer(l));
    }
    const tensor norm = weights_final_norm(t, w);
    k->rmsnorm_forward(&a->hidden, &a->last_rstd, &a->last, &norm, m->d.norm_eps, k->stream);
    units_release(w, unit_of_final_norm(t));
}

void model_backward(const model *m, activations *a, const units *g)
{
    REQUIRE(a->use == FORWARD_AND_BACKWARD, "the activations were laid out without backward");
    const ops *k = m->k;
    const param_table *t = &m->table;
    const units *w = &m->units;

    const tensor norm = weights_final_norm(t, w);
    tensor dnorm = weights_final_norm(t, g);
    k->rmsnorm_backward(&a->dx, &dnorm, &a->dhidden, &a->last, &norm, &a->last_rstd, k->stream);
    units_release(w, unit_of_final_norm(t));
    units_release(g, unit_of_final_norm(t)); /* with the head's gradient, unless the model is tied */
    for (int l = (int)m->d.L - 1; l >= 0; l--) {
        const layer_weights layer = weights_layer(t, w, l);
        layer_weights dlayer = weights_layer(t, g, l);
        block_backward(m, &layer, &dlayer, a, l);
        units_release(w, unit_of_layer(l));
        units_release(g, unit_of_layer(l));
    }
    tensor dembed = weights_embed(t, g);
    k->embedding_backward(&dembed, &a->dx, &a->tokens, k->stream);
    units_release(g, UNIT_EMBED);
}

double model_evaluate(const model *m, activations *a, const token_batch *batch)
{
    model_forward(m, a, batch);
    loss_zero(m, a);
    loss_forward(m, a, batch);
    return loss_sum(m, a);
}

void model_train(const model *m, activations *a, const units *g, const token_batch *batch, tensor *loss)
{
    model_forward(m, a, batch);
    loss_backward(m, a, g, batch, loss);
    model_backward(m, a, g);
}

double model_layer_flops_per_token(const dims *d, int64_t T)
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
    return 6 * products + attention;
}

double model_flops_per_token(const dims *d, int64_t T)
{
    return (double)d->L * model_layer_flops_per_token(d, T) + 6 * (double)d->V * (double)d->C;
}
