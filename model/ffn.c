/* The feed-forward part of a layer: down(silu(gate(h)) * up(h)). */
#include "model/parts.h"

void ffn_product(const model *m, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    m->k->swiglu_forward(&a->act, &a->gate, &a->up, m->k->stream);
}

void ffn_forward(const model *m, const layer_weights *w, activations *acts, int layer)
{
    const ops *k = m->k;
    layer_acts *a = activations_layer(acts, layer);

    /* 1 gate and up */
    k->matmul_forward(&a->gate, operand_of(&a->mlp_h), operand_of(&w->w_gate), NULL, k->stream);
    k->matmul_forward(&a->up, operand_of(&a->mlp_h), operand_of(&w->w_up), NULL, k->stream);
    /* 2 their product */
    ffn_product(m, acts, layer);
}

void ffn_output(const model *m, const layer_weights *w, activations *acts, int layer)
{
    /* 3 down */
    m->k->matmul_forward(&acts->s.delta, operand_of(&activations_layer(acts, layer)->act),
                         operand_of(&w->w_down), NULL, m->k->stream);
}

void ffn_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer)
{
    const ops *k = m->k;
    const layer_acts *a = activations_layer(acts, layer);
    layer_scratch *s = &acts->s;

    /* 3 down */
    k->matmul_backward(&s->dact, &g->w_down, NULL, operand_of(&acts->dx), operand_of(&a->act),
                       operand_of(&w->w_down), k->stream);
    /* 2 the product; the gradient of gate takes the place of that of act */
    k->swiglu_backward(&s->dact, &s->dup, &s->dact, &a->gate, &a->up, k->stream);
    /* 1 gate and up */
    k->matmul_backward(&s->dh, &g->w_gate, NULL, operand_of(&s->dact), operand_of(&a->mlp_h),
                       operand_of(&w->w_gate), k->stream);
    k->matmul_backward_add(&s->dh, &g->w_up, NULL, operand_of(&s->dup), operand_of(&a->mlp_h),
                           operand_of(&w->w_up), k->stream);
}
