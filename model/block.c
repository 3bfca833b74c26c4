/* A layer and its steps, in the order in which they run; and how parts look at rows of activations. */
#include "model/block.h"
#include "model/parts.h"

tensor part_heads(const activations *acts, const tensor *t, int64_t heads)
{
    tensor view = *t;
    view.rank = 4;
    view.dim[0] = acts->B, view.dim[1] = acts->T, view.dim[2] = heads, view.dim[3] = t->dim[1] / heads;
    view.stride[0] = acts->T * t->stride[0], view.stride[1] = t->stride[0], view.stride[2] = view.dim[3],
    view.stride[3] = 1;
    return view;
}

void block_attention_input(const model *m, const layer_weights *w, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    m->k->rmsnorm_forward(&a->attn_h, &a->attn_rstd, &a->x, &w->attn_norm, m->d.norm_eps, m->k->stream);
}

void block_attention(const model *m, const layer_weights *w, activations *acts, int layer)
{
    if (m->d.kind == ATTENTION_MLA)
        mla_forward(m, w, acts, layer);
    else
        gqa_forward(m, w, acts, layer);
}

void block_attention_output(const model *m, const layer_weights *w, activations *acts, int layer)
{
    m->k->matmul_forward(&acts->s.delta, operand_of(&activations_layer(acts, layer)->heads),
                         operand_of(&w->wo), part_bias(&w->bo), m->k->stream);
}

static void feed_forward_input(const model *m, const layer_weights *w, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    m->k->rmsnorm_forward(&a->mlp_h, &a->mlp_rstd, &a->mid, &w->mlp_norm, m->d.norm_eps, m->k->stream);
}

/* x and delta to mid, and to the product of gate and up. */
static void to_product(const model *m, const layer_weights *w, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    m->k->residual_forward(&a->mid, &a->x, &acts->s.delta, m->k->stream);
    feed_forward_input(m, w, acts, layer);
    ffn_forward(m, w, acts, layer);
}

void block_rest(const model *m, const layer_weights *w, activations *acts, int layer, tensor *out)
{
    to_product(m, w, acts, layer);
    ffn_output(m, w, acts, layer);
    m->k->residual_forward(out, &activations_layer(acts, layer)->mid, &acts->s.delta, m->k->stream);
}

void block_forward(const model *m, const layer_weights *w, activations *acts, int layer, tensor *out)
{
    /* 1 attention */
    block_attention_input(m, w, acts, layer);
    block_attention(m, w, acts, layer);

    /* 2 feed-forward */
    block_rest(m, w, acts, layer, out);
}

/* All that backward reads, from x. The last layer's is still what forward has left. */
static void layer_again(const model *m, const layer_weights *w, activations *acts, int layer)
{
    if (layer + 1 == m->d.L) return;
    block_attention_input(m, w, acts, layer);
    block_attention(m, w, acts, layer);
    to_product(m, w, acts, layer);
}

void block_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer)
{
    const ops *k = m->k;
    layer_acts *a = activations_layer(acts, layer);
    layer_scratch *s = &acts->s;
    const bool mla = m->d.kind == ATTENTION_MLA, light = acts->recompute == RECOMPUTE_LIGHT;
    if (acts->recompute == RECOMPUTE_LAYER) layer_again(m, w, acts, layer);

    /* 2 feed-forward: dx already is the gradient of the direct path; the norm's path is added to it */
    if (light) {
        feed_forward_input(m, w, acts, layer);
        ffn_product(m, acts, layer);
    }
    ffn_backward(m, w, g, acts, layer);
    k->rmsnorm_backward_add(&acts->dx, &g->mlp_norm, &s->dh, &a->mid, &w->mlp_norm, &a->mlp_rstd, k->stream);

    /* 1 attention */
    if (light) {
        block_attention_input(m, w, acts, layer);
        if (mla) mla_from_latents(m, w, acts, layer);
    }
    if (mla)
        mla_backward(m, w, g, acts, layer);
    else
        gqa_backward(m, w, g, acts, layer);
    k->rmsnorm_backward_add(&acts->dx, &g->attn_norm, &s->dh, &a->x, &w->attn_norm, &a->attn_rstd, k->stream);
}
