/* Grouped-query attention over the cache: keys and values are kept as attention reads them, keys rotated. */
#include "model/decode/pass.h"
#include <math.h>

void pass_gqa(decoder *x, const layer_weights *w, int layer, pass_rows *r)
{
    const dims *d = &x->m->d;
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    const pass *a = &p->now;

    /* 1 queries, keys, values */
    k->linear_rows(&r->q, operand_of(&r->h), operand_of(&w->wq), part_bias(&w->bq), k->stream);
    k->linear_rows(&r->k, operand_of(&r->h), operand_of(&w->wk), part_bias(&w->bk), k->stream);
    k->linear_rows(&r->v, operand_of(&r->h), operand_of(&w->wv), part_bias(&w->bv), k->stream);

    /* 2 rotation */
    const tensor q = pass_heads(&r->q, d->H), keys = pass_heads(&r->k, d->G);
    tensor q_sequence = pass_as_sequence(&q), k_sequence = pass_as_sequence(&keys);
    k->rope_forward(&q_sequence, &p->cosine, &p->sine, &a->position, ROPE_HALVES, k->stream);
    k->rope_forward(&k_sequence, &p->cosine, &p->sine, &a->position, ROPE_HALVES, k->stream);

    /* 3 attention */
    k->cache_write(&p->k[layer], &r->k, &a->slot, k->stream);
    k->cache_write(&p->v[layer], &r->v, &a->slot, k->stream);
    tensor heads = pass_heads(&r->heads, d->H);
    k->gqa_decode(&heads, &q, &p->k[layer], &p->v[layer], &a->r, 1.0 / sqrt((double)d->D), &p->scratch,
                  k->stream);
}
