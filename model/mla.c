/* Multi-head latent attention in materialised form: queries (perhaps factored), one latent for keys and
 * values, one rotary key shared by all heads, keys and values expanded per head. DeepSeek-V2,
 * arXiv:2405.04434, section 2.1; biases and missing norms as TransMLA's converter leaves them, or biases as
 * transformers' attention_bias has them. */
#include "model/parts.h"
#include <math.h>

static double scale_of(const dims *d) { return 1.0 / sqrt((double)(d->Dn + d->Dr)); }

/* The latent part and the rotary part of kv_a, (N,R) and (B,T,1,Dr). */
static tensor latent_of(const dims *d, const tensor *kv_a) { return tensor_slice(kv_a, 0, d->R); }
static tensor rotary_of(const dims *d, const activations *acts, const tensor *kv_a)
{
    const tensor rotary = tensor_slice(kv_a, d->R, d->Dr);
    return part_heads(acts, &rotary, 1);
}

/* (B,T,1,Dr) as the (B,T,Dr) that the expansion takes. */
static tensor without_heads(tensor t)
{
    t.rank = 3;
    t.dim[2] = t.dim[3];
    t.stride[2] = 1;
    t.dim[3] = t.stride[3] = 1;
    return t;
}

/* A part of step 1. */
static void q_norm(const model *m, const layer_weights *w, layer_acts *a)
{
    if (!m->d.Rq || !m->d.latent_norm) return;
    m->k->rmsnorm_forward(&a->q_normed, &a->q_rstd, &a->q_latent, &w->q_a_norm, LATENT_NORM_EPS,
                          m->k->stream);
}

/* Step 4: latent norm, kv_b, keys. */
static void expand(const model *m, const layer_weights *w, const activations *acts, layer_acts *a)
{
    const dims *d = &m->d;
    tensor latent = latent_of(d, &a->kv_a);
    if (d->latent_norm) {
        m->k->rmsnorm_forward(&a->kv_normed, &a->kv_rstd, &latent, &w->kv_a_norm, LATENT_NORM_EPS,
                              m->k->stream);
        latent = a->kv_normed;
    }
    m->k->matmul_forward(&a->kv, operand_of(&latent), operand_of(&w->wkv_b), NULL, m->k->stream);
    const tensor kv = part_heads(acts, &a->kv, d->H), nope = tensor_slice(&kv, 0, d->Dn),
                 rotary = without_heads(rotary_of(d, acts, &a->kv_a));
    tensor keys = part_heads(acts, &a->keys, d->H);
    m->k->mla_expand_forward(&keys, &nope, &rotary, m->k->stream);
}

void mla_from_latents(const model *m, const layer_weights *w, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    q_norm(m, w, a);
    expand(m, w, acts, a);
}

/* (B,T,H,Dv): the second part of every head of kv. */
static tensor values_of(const dims *d, const activations *acts, const layer_acts *a)
{
    const tensor kv = part_heads(acts, &a->kv, d->H);
    return tensor_slice(&kv, d->Dn, d->Dv);
}

void block_q_latent(const model *m, const layer_weights *w, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    m->k->matmul_forward(&a->q_latent, operand_of(&a->attn_h), operand_of(&w->wq_a), part_bias(&w->bq_a),
                         m->k->stream);
}

void block_kv_latent(const model *m, const layer_weights *w, activations *acts, int layer)
{
    layer_acts *a = activations_layer(acts, layer);
    m->k->matmul_forward(&a->kv_a, operand_of(&a->attn_h), operand_of(&w->wkv_a), part_bias(&w->bkv_a),
                         m->k->stream);
}

void mla_forward(const model *m, const layer_weights *w, activations *acts, int layer)
{
    const dims *d = &m->d;
    const ops *k = m->k;
    layer_acts *a = activations_layer(acts, layer);

    /* 1 queries */
    if (d->Rq) {
        block_q_latent(m, w, acts, layer);
        q_norm(m, w, a);
        k->matmul_forward(&a->q, operand_of(d->latent_norm ? &a->q_normed : &a->q_latent),
                          operand_of(&w->wq_b), part_bias(&w->bq_b), k->stream);
    } else {
        k->matmul_forward(&a->q, operand_of(&a->attn_h), operand_of(&w->wq), part_bias(&w->bq), k->stream);
    }

    /* 2 latent of keys and values, rotary key */
    block_kv_latent(m, w, acts, layer);

    /* 3 rotation */
    const tensor q = part_heads(acts, &a->q, d->H);
    tensor q_rotary = tensor_slice(&q, d->Dn, d->Dr), k_rotary = rotary_of(d, acts, &a->kv_a);
    k->rope_forward(&q_rotary, &acts->cosine, &acts->sine, &acts->position, ROPE_PAIRS, k->stream);
    k->rope_forward(&k_rotary, &acts->cosine, &acts->sine, &acts->position, ROPE_PAIRS, k->stream);

    /* 4 keys and values from the latent */
    expand(m, w, acts, a);

    /* 5 attention */
    const tensor keys = part_heads(acts, &a->keys, d->H), values = values_of(d, acts, a);
    tensor heads = part_heads(acts, &a->heads, d->H);
    k->attention_forward(&heads, &a->lse, &q, &keys, &values, &acts->first, scale_of(d), k->stream);

    /* 6 output */
    block_attention_output(m, w, acts, layer);
}

void mla_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer)
{
    const dims *d = &m->d;
    const ops *k = m->k;
    const layer_acts *a = activations_layer(acts, layer);
    layer_scratch *s = &acts->s;

    /* 6 output */
    k->matmul_backward(&s->dheads, &g->wo, part_bias_gradient(&g->bo), operand_of(&acts->dx),
                       operand_of(&a->heads), operand_of(&w->wo), k->stream);

    /* 5 attention */
    const tensor keys = part_heads(acts, &a->keys, d->H), values = values_of(d, acts, a);
    const tensor q = part_heads(acts, &a->q, d->H), heads = part_heads(acts, &a->heads, d->H),
                 dheads = part_heads(acts, &s->dheads, d->H);
    tensor dq = part_heads(acts, &s->dq, d->H), dkeys = part_heads(acts, &s->dk, d->H),
           dkv = part_heads(acts, &s->dkv, d->H);
    tensor dvalues = tensor_slice(&dkv, d->Dn, d->Dv);
    k->attention_backward(&dq, &dkeys, &dvalues, &dheads, &heads, &a->lse, &q, &keys, &values, &acts->first,
                          scale_of(d), k->stream);

    /* 4 keys and values from the latent */
    tensor dnope = tensor_slice(&dkv, 0, d->Dn), dk_rotary = rotary_of(d, acts, &s->dkv_a),
           dlatent = latent_of(d, &s->dkv_a);
    tensor drotary = without_heads(dk_rotary);
    const tensor latent = latent_of(d, &a->kv_a);
    k->mla_expand_backward(&dnope, &drotary, &dkeys, k->stream);
    if (d->latent_norm) {
        k->matmul_backward(&s->dkv_normed, &g->wkv_b, NULL, operand_of(&s->dkv), operand_of(&a->kv_normed),
                           operand_of(&w->wkv_b), k->stream);
        k->rmsnorm_backward(&dlatent, &g->kv_a_norm, &s->dkv_normed, &latent, &w->kv_a_norm, &a->kv_rstd,
                            k->stream);
    } else {
        k->matmul_backward(&dlatent, &g->wkv_b, NULL, operand_of(&s->dkv), operand_of(&latent),
                           operand_of(&w->wkv_b), k->stream);
    }

    /* 3 rotation */
    tensor dq_rotary = tensor_slice(&dq, d->Dn, d->Dr);
    k->rope_backward(&dq_rotary, &acts->cosine, &acts->sine, &acts->position, ROPE_PAIRS, k->stream);
    k->rope_backward(&dk_rotary, &acts->cosine, &acts->sine, &acts->position, ROPE_PAIRS, k->stream);

    /* 2 latent of keys and values, rotary key */
    k->matmul_backward(&s->dh, &g->wkv_a, part_bias_gradient(&g->bkv_a), operand_of(&s->dkv_a),
                       operand_of(&a->attn_h), operand_of(&w->wkv_a), k->stream);

    /* 1 queries */
    if (d->Rq) {
        if (d->latent_norm) {
            k->matmul_backward(&s->dq_normed, &g->wq_b, part_bias_gradient(&g->bq_b), operand_of(&s->dq),
                               operand_of(&a->q_normed), operand_of(&w->wq_b), k->stream);
            k->rmsnorm_backward(&s->dq_latent, &g->q_a_norm, &s->dq_normed, &a->q_latent, &w->q_a_norm,
                                &a->q_rstd, k->stream);
        } else {
            k->matmul_backward(&s->dq_latent, &g->wq_b, part_bias_gradient(&g->bq_b), operand_of(&s->dq),
                               operand_of(&a->q_latent), operand_of(&w->wq_b), k->stream);
        }
        k->matmul_backward_add(&s->dh, &g->wq_a, part_bias_gradient(&g->bq_a), operand_of(&s->dq_latent),
                               operand_of(&a->attn_h), operand_of(&w->wq_a), k->stream);
    } else {
        k->matmul_backward_add(&s->dh, &g->wq, part_bias_gradient(&g->bq), operand_of(&s->dq),
                               operand_of(&a->attn_h), operand_of(&w->wq), k->stream);
    }
}
