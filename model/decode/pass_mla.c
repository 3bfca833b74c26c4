/* Multi-head latent attention in its two forms. With Wk and Wv a head's parts of kv_b, c the latent of a
 * position:
 *
 *     absorbed, on latents    q_nope . (Wk c) = (Wk^T q_nope) . c,  sum_s p_s Wv c_s = Wv sum_s p_s c_s
 *     materialised            keys Wk c and values Wv c of all positions are expanded, as in model/mla.c
 *
 * The first multiplies every new row by kv_b and no old one, but its heads are R+Dr and R wide. DeepSeek-V2,
 * arXiv:2405.04434, section 2.1.2 and appendix C; biases, query rank and norms as in model/mla.c. */
#include "model/decode/pass.h"
#include <math.h>

static double scale_of(const dims *d) { return 1.0 / sqrt((double)(d->Dn + d->Dr)); }

/* kv_b (H*(Dn+Dv),R): the part of keys (H,Dn,R), or that of values (H,Dv,R). */
static tensor kv_b_part(const dims *d, const tensor *wkv_b, int64_t from, int64_t rows)
{
    const tensor heads = tensor_view(wkv_b, 3, (int64_t[]){d->H, d->Dn + d->Dv, d->R});
    tensor part = heads;
    part.dim[1] = rows;
    part.data = (char *)part.data + from * part.stride[1] * dtype_bytes(part.type);
    return part;
}
static tensor kv_b_keys(const dims *d, const layer_weights *w) { return kv_b_part(d, &w->wkv_b, 0, d->Dn); }
static tensor kv_b_values(const dims *d, const layer_weights *w)
{
    return kv_b_part(d, &w->wkv_b, d->Dn, d->Dv);
}

/* Steps 1 to 3: q, and kv_a as the cache keeps it. */
static void project(decoder *x, const layer_weights *w, pass_rows *r)
{
    const dims *d = &x->m->d;
    const ops *k = x->m->k;
    const struct decoder_parts *p = x->parts;

    /* 1 queries */
    if (d->Rq) {
        k->linear_rows(&r->q_latent, operand_of(&r->h), operand_of(&w->wq_a), part_bias(&w->bq_a), k->stream);
        if (d->latent_norm)
            k->rmsnorm_forward(&r->q_latent, &r->rstd, &r->q_latent, &w->q_a_norm, LATENT_NORM_EPS,
                               k->stream);
        k->linear_rows(&r->q, operand_of(&r->q_latent), operand_of(&w->wq_b), part_bias(&w->bq_b), k->stream);
    } else {
        k->linear_rows(&r->q, operand_of(&r->h), operand_of(&w->wq), part_bias(&w->bq), k->stream);
    }

    /* 2 latent of keys and values, rotary key */
    k->linear_rows(&r->kv_a, operand_of(&r->h), operand_of(&w->wkv_a), part_bias(&w->bkv_a), k->stream);
    if (d->latent_norm) {
        tensor latent = tensor_slice(&r->kv_a, 0, d->R);
        k->rmsnorm_forward(&latent, &r->rstd, &latent, &w->kv_a_norm, LATENT_NORM_EPS, k->stream);
    }

    /* 3 rotation */
    const tensor q = pass_heads(&r->q, d->H), kv = pass_heads(&r->kv_a, 1);
    tensor q_sequence = pass_as_sequence(&q), k_sequence = pass_as_sequence(&kv);
    tensor q_rotary = tensor_slice(&q_sequence, d->Dn, d->Dr),
           k_rotary = tensor_slice(&k_sequence, d->R, d->Dr);
    k->rope_forward(&q_rotary, &p->cosine, &p->sine, &p->now.position, ROPE_PAIRS, k->stream);
    k->rope_forward(&k_rotary, &p->cosine, &p->sine, &p->now.position, ROPE_PAIRS, k->stream);
}

/* (N,H,width) seen as N*H heads of one position each, the (1,N*H,1,width) that mla_expand takes. */
static tensor heads_as_positions(const tensor *t)
{
    tensor view = *t;
    view.rank = 4;
    view.dim[0] = 1, view.dim[1] = t->dim[0] * t->dim[1], view.dim[2] = 1, view.dim[3] = t->dim[2];
    view.stride[0] = view.dim[1] * t->stride[1], view.stride[1] = t->stride[1], view.stride[2] = t->stride[1],
    view.stride[3] = 1;
    return view;
}

/* Rows 0..N-1, over the latents in the cache. */
static void attend_latents(decoder *x, const layer_weights *w, int layer, const pass_rows *rows)
{
    const dims *d = &x->m->d;
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    const ragged *of = &p->now.r;
    const pass_rows r = pass_rows_first(rows, of->N);
    const tensor keys = kv_b_keys(d, w), values = kv_b_values(d, w), q = pass_heads(&r.q, d->H),
                 nope = tensor_slice(&q, 0, d->Dn), rotary = tensor_slice(&q, d->Dn, d->Dr);
    tensor latent = pass_heads(&r.latent_heads, d->H), latent_q = pass_heads(&r.latent_q, d->H),
           heads = pass_heads(&r.heads, d->H);

    k->heads_matmul(&latent, &nope, &keys, true, k->stream);
    /* Beside each other. To mla_expand every head of every row is a position with one head. */
    tensor to = heads_as_positions(&latent_q), of_rotary = heads_as_positions(&rotary);
    const tensor of_latent = heads_as_positions(&latent);
    of_rotary.rank = 3, of_rotary.dim[2] = d->Dr, of_rotary.dim[3] = 1, of_rotary.stride[2] = 1;
    k->mla_expand_forward(&to, &of_latent, &of_rotary, k->stream);
    k->mla_decode(&latent, &latent_q, &p->k[layer], of, scale_of(d), &p->scratch, k->stream);
    k->heads_matmul(&heads, &latent, &values, false, k->stream);
}

/* The first `length` positions of a sequence as keys and values, a piece after the other. */
static void expand(decoder *x, const layer_weights *w, int layer, const tensor *slots)
{
    const dims *d = &x->m->d;
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    const tensor weight_k = kv_b_keys(d, w), weight_v = kv_b_values(d, w);
    const int64_t length = slots->dim[0];
    for (int64_t from = 0; from < length; from += EXPANDED_ROWS) {
        const int64_t N = length - from < EXPANDED_ROWS ? length - from : EXPANDED_ROWS;
        const tensor at = tensor_rows(slots, from, N);
        tensor piece = tensor_rows(&p->piece, 0, N);
        k->cache_read(&piece, &p->k[layer], &at, k->stream);

        /* Every head multiplies the same latent. */
        tensor latent = tensor_slice(&piece, 0, d->R), rotary = tensor_slice(&piece, d->R, d->Dr);
        latent.rank = 3, latent.dim[1] = d->H, latent.dim[2] = d->R, latent.stride[1] = 0,
        latent.stride[2] = 1;
        const tensor nope_rows = tensor_rows(&p->piece_nope, 0, N),
                     key_rows = tensor_rows(&p->keys.rows, from, N),
                     value_rows = tensor_rows(&p->values.rows, from, N);
        tensor nope = pass_heads(&nope_rows, d->H), values = pass_heads(&value_rows, d->H);
        k->heads_matmul(&nope, &latent, &weight_k, false, k->stream);
        k->heads_matmul(&values, &latent, &weight_v, false, k->stream);

        const tensor keys = pass_heads(&key_rows, d->H), nope_sequence = pass_as_sequence(&nope);
        tensor k_sequence = pass_as_sequence(&keys);
        rotary.rank = 3, rotary.dim[0] = 1, rotary.dim[1] = N, rotary.dim[2] = d->Dr;
        rotary.stride[1] = rotary.stride[0], rotary.stride[0] = N * rotary.stride[1], rotary.stride[2] = 1;
        k->mla_expand_forward(&k_sequence, &nope_sequence, &rotary, k->stream);
    }
}

static void attend_expanded(decoder *x, const layer_weights *w, int layer, const pass_rows *r,
                            const expanded_span *e)
{
    const dims *d = &x->m->d;
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    expand(x, w, layer, &e->slots);
    const tensor q_rows = tensor_rows(&r->q, e->from, e->r.N),
                 head_rows = tensor_rows(&r->heads, e->from, e->r.N);
    const tensor q = pass_heads(&q_rows, d->H);
    tensor heads = pass_heads(&head_rows, d->H);
    k->gqa_decode(&heads, &q, &p->keys, &p->values, &e->r, scale_of(d), &p->scratch, k->stream);
}

void pass_mla(decoder *x, const layer_weights *w, int layer, pass_rows *r)
{
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    project(x, w, r);
    k->cache_write(&p->k[layer], &r->kv_a, &p->now.slot, k->stream);
    if (p->now.r.N > 0) attend_latents(x, w, layer, r);
    for (int i = 0; i < p->now.num_expanded; i++) attend_expanded(x, w, layer, r, &p->now.expanded[i]);
}
