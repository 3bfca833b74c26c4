/* One layer: x + attention(norm(x)), then mid + feed-forward(norm(mid)). */
#include "model/parts.h"

void block_forward(model *m, int layer, layer_acts *a, tensor *out)
{
    const ops *k = m->k;
    const layer_weights *w = &m->w.layer[layer];
    layer_scratch *s = &m->s;

    /* 1 attention */
    k->rmsnorm_forward(&s->h, &a->attn_rstd, &a->x, &w->attn_norm, m->d.norm_eps, k->stream);
    if (m->tap) m->tap(m->tap_context, layer, TAP_ATTENTION_INPUT, &s->h);
    if (m->d.kind == ATTENTION_MLA)
        mla_forward(m, layer, a);
    else
        gqa_forward(m, layer, a);
    k->residual_forward(&a->mid, &a->x, &s->delta, k->stream);

    /* 2 feed-forward */
    k->rmsnorm_forward(&s->h, &a->mlp_rstd, &a->mid, &w->mlp_norm, m->d.norm_eps, k->stream);
    ffn_forward(m, layer, a);
    k->residual_forward(out, &a->mid, &s->delta, k->stream);
}

void block_backward(model *m, int layer, layer_acts *a)
{
    const ops *k = m->k;
    const layer_weights *w = &m->w.layer[layer];
    layer_weights *g = &m->g.layer[layer];
    layer_scratch *s = &m->s;

    /* 2 feed-forward: dx already is the gradient of the direct path; the norm's path is added to it */
    k->rmsnorm_forward(&s->h, &a->mlp_rstd, &a->mid, &w->mlp_norm, m->d.norm_eps, k->stream);
    ffn_backward(m, layer, a);
    k->rmsnorm_backward_add(&m->dx, &g->mlp_norm, &s->dh, &a->mid, &w->mlp_norm, &a->mlp_rstd, k->stream);

    /* 1 attention */
    k->rmsnorm_forward(&s->h, &a->attn_rstd, &a->x, &w->attn_norm, m->d.norm_eps, k->stream);
    if (m->d.kind == ATTENTION_MLA)
        mla_backward(m, layer, a);
    else
        gqa_backward(m, layer, a);
    k->rmsnorm_backward_add(&m->dx, &g->attn_norm, &s->dh, &a->x, &w->attn_norm, &a->attn_rstd, k->stream);
}
