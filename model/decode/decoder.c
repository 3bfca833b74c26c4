/* Sequences, the pass over all layers, and the head. Where sequences lie is known on the host alone
 * (pages.h); the device gets it as numbers with every pass (pass_plan.c). */
#include "model/decode/decoder.h"
#include "base/status.h"
#include "model/decode/pass.h"
#include <stddef.h>

/* ---- sequences ----------------------------------------------------------------------------------------- */

int decoder_open(decoder *x) { return pages_open(&x->parts->pages); }
int decoder_fork(decoder *x, int from, int64_t length) { return pages_fork(&x->parts->pages, from, length); }
void decoder_rewind(decoder *x, int sequence, int64_t length)
{
    pages_rewind(&x->parts->pages, sequence, length);
}
void decoder_close(decoder *x, int sequence) { pages_close(&x->parts->pages, sequence); }

int64_t decoder_length(const decoder *x, int sequence)
{
    return pages_sequence(&x->parts->pages, sequence)->length;
}
int64_t decoder_pages_free(const decoder *x) { return x->parts->pages.num_unused; }
int64_t decoder_pages_for(const decoder *x, int sequence, int64_t count)
{
    return pages_for(&x->parts->pages, sequence, count);
}

/* ---- the pass ------------------------------------------------------------------------------------------ */

/* Stops the job where the spans break a rule; whether there are pages for them. */
static bool fits(decoder *x, const span *spans, int count)
{
    struct decoder_parts *p = x->parts;
    int64_t rows = 0, wanted = 0;
    p->num_passes++;
    for (int i = 0; i < count; i++) {
        const span *s = &spans[i];
        const int64_t length = decoder_length(x, s->sequence);
        REQUIRE(s->count >= 1 && s->count <= x->settings.longest - length,
                "%lld tokens behind %lld in sequences of %lld", (long long)s->count, (long long)length,
                (long long)x->settings.longest);
        REQUIRE(p->seen[s->sequence] != p->num_passes, "sequence %d is twice in a pass", s->sequence);
        REQUIRE(!pass_expands(x, s) || x->settings.materialise, "the decoder has no room to expand keys");
        p->seen[s->sequence] = p->num_passes;
        rows += s->count;
        wanted += pages_for(&p->pages, s->sequence, s->count);
    }
    REQUIRE(rows >= 1 && rows <= x->settings.rows, "%lld tokens in a pass of at most %lld", (long long)rows,
            (long long)x->settings.rows);
    return wanted <= p->pages.num_unused;
}

/* A layer's own copies of pages that are shared no longer. */
static void copy_pages(decoder *x, int layer)
{
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    const pass *a = &p->now;
    if (a->num_copied == 0) return;
    k->cache_copy(&p->k[layer], &a->copy_to, &a->copy_from, k->stream);
    if (p->v[layer].rows.rank) k->cache_copy(&p->v[layer], &a->copy_to, &a->copy_from, k->stream);
}

static void layer_forward(decoder *x, const layer_weights *w, int layer, pass_rows *r)
{
    const dims *d = &x->m->d;
    const ops *k = x->m->k;

    /* 1 attention */
    k->rmsnorm_forward(&r->h, &r->rstd, &r->x, &w->attn_norm, d->norm_eps, k->stream);
    copy_pages(x, layer);
    if (d->kind == ATTENTION_MLA)
        pass_mla(x, w, layer, r);
    else
        pass_gqa(x, w, layer, r);
    k->linear_rows(&r->delta, operand_of(&r->heads), operand_of(&w->wo), part_bias(&w->bo), k->stream);
    k->residual_forward(&r->x, &r->x, &r->delta, k->stream);

    /* 2 feed-forward */
    k->rmsnorm_forward(&r->h, &r->rstd, &r->x, &w->mlp_norm, d->norm_eps, k->stream);
    k->linear_rows(&r->gate, operand_of(&r->h), operand_of(&w->w_gate), NULL, k->stream);
    k->linear_rows(&r->up, operand_of(&r->h), operand_of(&w->w_up), NULL, k->stream);
    k->swiglu_forward(&r->act, &r->gate, &r->up, k->stream);
    k->linear_rows(&r->delta, operand_of(&r->act), operand_of(&w->w_down), NULL, k->stream);
    k->residual_forward(&r->x, &r->x, &r->delta, k->stream);
}

bool decoder_forward(decoder *x, const span *spans, int count)
{
    if (!fits(x, spans, count)) return false;
    const model *m = x->m;
    const ops *k = m->k;
    struct decoder_parts *p = x->parts;
    pass_plan(x, spans, count);
    pass_rows r = pass_rows_first(&p->rows, p->now.N);

    const tensor embed = weights_embed(&m->table, &m->units);
    k->embedding_forward(&r.x, &p->now.tokens, &embed, k->stream);
    units_release(&m->units, UNIT_EMBED);
    for (int l = 0; l < m->d.L; l++) {
        const layer_weights w = weights_layer(&m->table, &m->units, l);
        layer_forward(x, &w, l, &r);
        units_release(&m->units, unit_of_layer(l));
    }
    const tensor norm = weights_final_norm(&m->table, &m->units);
    k->rmsnorm_forward(&r.hidden, &r.rstd, &r.x, &norm, m->d.norm_eps, k->stream);
    units_release(&m->units, unit_of_final_norm(&m->table));
    return true;
}

/* ---- the head ------------------------------------------------------------------------------------------ */

/* The hidden states of n <= settings.rows of the caller's rows. */
static tensor pick(decoder *x, const int32_t *rows, int64_t n)
{
    const ops *k = x->m->k;
    struct decoder_parts *p = x->parts;
    for (int64_t i = 0; i < n; i++) {
        REQUIRE(rows[i] >= 0 && rows[i] < p->now.N, "row %d of a pass of %lld", rows[i], (long long)p->now.N);
        p->host_picks[i] = p->now.row[rows[i]];
    }
    tensor picks = tensor_rows(&p->picks, 0, n), picked = tensor_rows(&p->picked, 0, n);
    const tensor hidden = tensor_rows(&p->rows.hidden, 0, p->now.N);
    k->upload_i32(&picks, p->host_picks, k->stream);
    k->embedding_forward(&picked, &picks, &hidden, k->stream);
    return picked;
}

void decoder_scores(decoder *x, const int32_t *rows, const int32_t *targets, int64_t n, token_score *out)
{
    const model *m = x->m;
    const ops *k = m->k;
    struct decoder_parts *p = x->parts;
    const tensor head = weights_head(&m->table, &m->units);
    for (int64_t from = 0; from < n; from += x->settings.rows) {
        const int64_t N = n - from < x->settings.rows ? n - from : x->settings.rows;
        const tensor hidden = pick(x, rows + from, N);
        tensor wanted = tensor_rows(&p->targets, 0, N), scores = tensor_rows(&p->scores, 0, N);
        k->upload_i32(&wanted, targets + from, k->stream);
        k->head_scores(&scores, &hidden, &head, &wanted, &p->logits, k->stream);
        k->download_f64(p->host_scores, &scores, k->stream);
        for (int64_t i = 0; i < N; i++) {
            const double *s = p->host_scores + 3 * i;
            out[from + i] = (token_score){.logprob = s[0], .best = (int32_t)s[1], .best_logprob = s[2]};
        }
    }
    units_release(&m->units, unit_of_head(&m->table));
}

void decoder_logits(decoder *x, const int32_t *rows, int64_t n, float *logits)
{
    const model *m = x->m;
    const ops *k = m->k;
    struct decoder_parts *p = x->parts;
    const int64_t most = p->logits.dim[0], V = m->d.V;
    const tensor head = weights_head(&m->table, &m->units);
    for (int64_t from = 0; from < n; from += most) {
        const int64_t N = n - from < most ? n - from : most;
        const tensor hidden = pick(x, rows + from, N);
        tensor piece =
            tensor_of(p->logits.data, k->act, "logits", 2, (int64_t[]){N, V}); /* act fits in real */
        k->linear_rows(&piece, operand_of(&hidden), operand_of(&head), NULL, k->stream);
        k->download(logits + from * V, &piece, k->stream);
    }
    units_release(&m->units, unit_of_head(&m->table));
}
