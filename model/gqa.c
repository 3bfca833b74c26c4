/* Grouped-query attention of Llama, Qwen2 and Mistral: the model that conversion starts from. Ainslie et al.
 * 2023, arXiv:2305.13245. */
#include "model/parts.h"
#include <math.h>

static double scale_of(const dims *d) { return 1.0 / sqrt((double)d->D); }

void gqa_forward(const model *m, const layer_weights *w, activations *acts, int layer)
{
    const dims *d = &m->d;
    const ops *k = m->k;
    layer_acts *a = activations_layer(acts, layer);

    /* 1 queries, keys, values */
    k->matmul_forward(&a->q, operand_of(&a->attn_h), operand_of(&w->wq), part_bias(&w->bq), k->stream);
    k->matmul_forward(&a->k, operand_of(&a->attn_h), operand_of(&w->wk), part_bias(&w->bk), k->stream);
    k->matmul_forward(&a->v, operand_of(&a->attn_h), operand_of(&w->wv), part_bias(&w->bv), k->stream);

    /* 2 rotation */
    tensor q = part_heads(acts, &a->q, d->H), keys = part_heads(acts, &a->k, d->G);
    k->rope_forward(&q, &acts->cosine, &acts->sine, &acts->position, ROPE_HALVES, k->stream);
    k->rope_forward(&keys, &acts->cosine, &acts->sine, &acts->position, ROPE_HALVES, k->stream);

    /* 3 attention */
    const tensor values = part_heads(acts, &a->v, d->G);
    tensor heads = part_heads(acts, &a->heads, d->H);
    k->attention_forward(&heads, &a->lse, &q, &keys, &values, &acts->first, scale_of(d), k->stream);

    /* 4 output */
    block_attention_output(m, w, acts, layer);
}

void gqa_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer)
{
    const dims *d = &m->d;
    const ops *k = m->k;
    const layer_acts *a = activations_layer(acts, layer);
    layer_scratch *s = &acts->s;

    /* 4 output */
    k->matmul_backward(&s->dheads, &g->wo, NULL, operand_of(&acts->dx), operand_of(&a->heads),
                       operand_of(&w->wo), k->stream);

    /* 3 attention */
    const tensor q = part_heads(acts, &a->q, d->H), keys = part_heads(acts, &a->k, d->G),
                 values = part_heads(acts, &a->v, d->G);
    const tensor heads = part_heads(acts, &a->heads, d->H), dheads = part_heads(acts, &s->dheads, d->H);
    tensor dq = part_heads(acts, &s->dq, d->H), dkeys = part_heads(acts, &s->dk, d->G),
           dvalues = part_heads(acts, &s->dv, d->G);
    k->attention_backward(&dq, &dkeys, &dvalues, &dheads, &heads, &a->lse, &q, &keys, &values, &acts->first,
                          scale_of(d), k->stream);

    /* 2 rotation */
    k->rope_backward(&dq, &acts->cosine, &acts->sine, &acts->position, ROPE_HALVES, k->stream);
    k->rope_backward(&dkeys, &acts->cosine, &acts->sine, &acts->position, ROPE_HALVES, k->stream);

    /* 1 queries, keys, values */
    k->matmul_backward(&s->dh, &g->wv, part_bias_gradient(&g->bv), operand_of(&s->dv), operand_of(&a->attn_h),
                       operand_of(&w->wv), k->stream);
    k->matmul_backward_add(&s->dh, &g->wk, part_bias_gradient(&g->bk), operand_of(&s->dk),
                           operand_of(&a->attn_h), operand_of(&w->wk), k->stream);
    k->matmul_backward_add(&s->dh, &g->wq, part_bias_gradient(&g->bq), operand_of(&s->dq),
                           operand_of(&a->attn_h), operand_of(&w->wq), k->stream);
}
