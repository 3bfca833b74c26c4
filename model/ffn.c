/* The feed-forward part of a layer: down(silu(gate(h)) * up(h)). */
#include "model/parts.h"

void ffn_forward(model *m, int layer, layer_acts *a)
{
    const ops *k = m->k;
    const layer_weights *w = &m->w.layer[layer];
    layer_scratch *s = &m->s;

    /* 1 gate and up */
    k->matmul_forward(&a->gate, &s->h, &w->w_gate, NULL, k->stream);
    k->matmul_forward(&a->up, &s->h, &w->w_up, NULL, k->stream);
    /* 2 their product */
    k->swiglu_forward(&s->act, &a->gate, &a->up, k->stream);
    /* 3 down */
    k->matmul_forward(&s->delta, &s->act, &w->w_down, NULL, k->stream);
}

void ffn_backward(model *m, int layer, layer_acts *a)
{
    const ops *k = m->k;
    const layer_weights *w = &m->w.layer[layer];
    layer_weights *g = &m->g.layer[layer];
    layer_scratch *s = &m->s;

    /* 3 down; 2 again: the product */
    k->swiglu_forward(&s->act, &a->gate, &a->up, k->stream);
    k->matmul_backward(&s->dact, &g->w_down, NULL, &m->dx, &s->act, &w->w_down, k->stream);
    /* 2 the product; the gradient of gate takes the place of that of act */
    k->swiglu_backward(&s->dact, &s->dup, &s->dact, &a->gate, &a->up, k->stream);
    /* 1 gate and up */
    k->matmul_backward(&s->dh, &g->w_gate, NULL, &s->dact, &s->h, &w->w_gate, k->stream);
    k->matmul_backward_add(&s->dh, &g->w_up, NULL, &s->dup, &s->h, &w->w_up, k->stream);
}
