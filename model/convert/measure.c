/* What a layer is made from and mended with: passes over the rows of the two streams, a chunk at a time. */
#include "model/convert/work.h"
#include "model/block.h"
#include <math.h>
#include <string.h>

/* How much of what earlier layers left wrong in the residual stream an attention is to make good. All of it
 * is more than o_proj can know from its inputs: it would learn the calibration text. */
#define CATCH_UP 0.5

/* Of the chunk whose residual stream after attention is `middle`: fills w->wanted and w->size. Returns the
 * energy of the attention's output. The stream goes into norms: here and in all errors a row counts as a
 * share of its size, or a few tokens with enormous activations would be all that counts. */
static double want(conversion_work *w, chunk c, const double *middle)
{
    const int64_t C = w->j->d->C;
    double energy = 0;
    for (int64_t n = c.row; n < c.row + c.rows; n++) {
        const double *after = middle + (n - c.row) * C;
        double square = 0, attention = 0;
        for (int64_t i = 0; i < C; i++) {
            const double x = (double)w->original[n * C + i], y = (double)w->converted[n * C + i],
                         adds = after[i] - x;
            square += after[i] * after[i];
            attention += adds * adds;
            w->wanted[n * C + i] = (float)(adds + CATCH_UP * (x - y));
        }
        const double mean = square / (double)C + w->j->d->norm_eps;
        w->size[n] = (float)sqrt(mean);
        energy += attention / mean;
    }
    return energy;
}

double original_forward(conversion_work *w)
{
    const text_share *t = &w->text;
    const model *m = &w->source;
    activations *acts = &w->source_acts;
    layer_acts *a = activations_layer(acts, 0);
    double energy = 0;
    EACH_CHUNK(c, t)
    {
        chunk_upload(m->k, &a->x, w->original, c);
        block_forward(m, &m->w.layer[0], acts, 0, &acts->last);
        chunk_read(m->k, w->a, &a->mid, c);
        energy += want(w, c, w->a);
        chunk_download(m->k, w->original, &acts->last, c);
    }
    comm_sum_f64(w->j->c, &energy, 1);
    return energy;
}

void measure_inputs(conversion_work *w)
{
    const text_share *t = &w->text;
    const model *m = &w->target;
    activations *acts = &w->target_acts;
    const int64_t C = m->d.C, width = C + 1;
    memset(w->inputs, 0, sizeof(double) * (size_t)(width * width));
    memset(w->first, 0, sizeof(double) * (size_t)(width * width));
    EACH_CHUNK(c, t)
    {
        chunk_upload(m->k, &activations_layer(acts, 0)->x, w->converted, c);
        block_attention_input(m, &m->w.layer[0], acts, 0);
        chunk_read(m->k, w->a, &acts->s.h, c);
        gram_add(w->inputs, w->b, w->a, c.rows, C, t->T, 1);
        for (int64_t i = 0; i < c.rows / t->T; i++)
            memmove(w->a + i * C, w->a + i * t->T * C, sizeof(double) * (size_t)C);
        gram_add(w->first, w->b, w->a, c.rows / t->T, C, 1, 1);
    }
    comm_sum_f64(w->j->c, w->inputs, width * width);
    comm_sum_f64(w->j->c, w->first, width * width);
}

/* Runs the converted attention on a chunk; `lacks` (rows,C) becomes what its output lacks, as shares of the
 * rows' sizes. */
static void attention_lacks(conversion_work *w, chunk c, double *lacks)
{
    const model *m = &w->target;
    activations *acts = &w->target_acts;
    const int64_t C = m->d.C;
    chunk_upload(m->k, &activations_layer(acts, 0)->x, w->converted, c);
    block_attention_input(m, &m->w.layer[0], acts, 0);
    block_attention(m, &m->w.layer[0], acts, 0);
    chunk_read(m->k, lacks, &acts->s.delta, c);
    for (int64_t n = 0; n < c.rows; n++)
        for (int64_t i = 0; i < C; i++)
            lacks[n * C + i] =
                ((double)w->wanted[(c.row + n) * C + i] - lacks[n * C + i]) / (double)w->size[c.row + n];
}

void measure_heads(conversion_work *w, int64_t most)
{
    const comm *ranks = w->j->c;
    const int64_t mine = (most - ranks->rank + ranks->size - 1) / ranks->size, end = mine * w->text.T;
    const text_share *t = &w->text;
    const ops *k = w->target.k;
    const tensor *heads = &activations_layer(&w->target_acts, 0)->heads;
    const int64_t width = heads->dim[1];
    refit_clear(&w->fit);
    EACH_CHUNK(c, t)
    {
        if (c.row >= end) break;
        if (c.rows > end - c.row) c.rows = end - c.row;
        attention_lacks(w, c, w->b);
        chunk_download(k, w->heads, heads, c);
        chunk_read(k, w->a, heads, c);
        for (int64_t n = 0; n < c.rows; n++)
            for (int64_t i = 0; i < width; i++) w->a[n * width + i] /= (double)w->size[c.row + n];
        refit_add(&w->fit, w->a, w->b, c.rows);
    }
    refit_sum(&w->fit, w->j->c);
}

void measure_latents(conversion_work *w, latent_sums *sums, bool constant_last)
{
    const text_share *t = &w->text;
    const model *m = &w->target;
    const layer_weights *layer = &m->w.layer[0];
    activations *acts = &w->target_acts;
    layer_acts *a = activations_layer(acts, 0);
    memset(sums, 0, sizeof *sums * LATENT_KINDS);
    EACH_CHUNK(c, t)
    {
        chunk_upload(m->k, &a->x, w->converted, c);
        block_attention_input(m, layer, acts, 0);
        for (int kind = 0; kind < latent_kinds(&m->d); kind++) {
            const bool kv = kind == LATENT_KV;
            (kv ? block_kv_latent : block_q_latent)(m, layer, acts, 0);
            const tensor latent = tensor_slice(kv ? &a->kv_a : &a->q_latent, 0, kv ? m->d.R : m->d.Rq);
            chunk_read(m->k, w->a, &latent, c);
            latent_sums_add(&sums[kind], w->a, c.rows, latent.dim[1], constant_last);
        }
    }
    comm_sum_f64(w->j->c, (double *)sums, LATENT_KINDS * (int64_t)(sizeof *sums / sizeof(double)));
}

void converted_forward(conversion_work *w)
{
    const text_share *t = &w->text;
    const model *m = &w->target;
    activations *acts = &w->target_acts;
    layer_acts *a = activations_layer(acts, 0);
    EACH_CHUNK(c, t)
    {
        chunk_upload(m->k, &a->x, w->converted, c);
        chunk_upload(m->k, &a->heads, w->heads, c);
        block_attention_output(m, &m->w.layer[0], acts, 0);
        block_rest(m, &m->w.layer[0], acts, 0, &acts->last);
        chunk_download(m->k, w->converted, &acts->last, c);
    }
}
