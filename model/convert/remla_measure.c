/* What this project's method measures beside S: the target of a layer's attention, and the output of the
 * converted attention's heads, from which o_proj is refitted. Residual streams go into norms, so in all
 * errors a row counts relative to its size. Otherwise a few tokens with enormous activations would be all
 * that counts. */
#include "model/block.h"
#include "model/convert/remla.h"
#include <math.h>

/* How much of the error that earlier layers left in the residual stream an attention is to correct. All of it
 * is more than o_proj can know from its inputs: it would learn the calibration text. */
#define CATCH_UP 0.5

/* Of the chunk whose residual stream after attention is `middle`: fills target and row_rms. Returns the
 * energy of the attention's output. */
static double fill_target(const conversion_work *w, remla *r, chunk c, const double *middle)
{
    const int64_t C = w->job->d->C;
    double energy = 0;
    for (int64_t n = c.row; n < c.row + c.rows; n++) {
        const double *after = middle + (n - c.row) * C;
        double square = 0, attention = 0;
        for (int64_t i = 0; i < C; i++) {
            const double x = (double)r->original->x[n * C + i], y = (double)r->converted->x[n * C + i],
                         adds = after[i] - x;
            square += after[i] * after[i];
            attention += adds * adds;
            r->target[n * C + i] = (float)(adds + CATCH_UP * (x - y));
        }
        const double mean = square / (double)C + w->job->d->norm_eps;
        r->row_rms[n] = (float)sqrt(mean);
        energy += attention / mean;
    }
    return energy;
}

double remla_original_forward(conversion_work *w, remla *r)
{
    const stream *s = r->original;
    const ops *k = w->job->k;
    layer_acts *a = activations_layer(s->acts, 0);
    const layer_weights layer = layer_model_weights(s->through);
    double energy = 0;
    EACH_CHUNK(c, s->text)
    {
        chunk_upload(k, &a->x, s->x, c);
        layer_model_forward(s->through, &layer, s->acts);
        chunk_read(k, w->chunk_rows, &a->mid, c);
        energy += fill_target(w, r, c, w->chunk_rows);
        chunk_download(k, s->x, &s->acts->last, c);
    }
    layer_model_release(s->through, UNIT_LAYER);
    comm_wait(w->job->c, comm_sum_f64(w->job->c, &energy, 1));
    return energy;
}

/* Runs the converted attention on a chunk; `errors` (rows,C) become target minus output, as shares of the
 * rows' sizes. */
static void attention_errors(const remla *r, const layer_weights *layer, chunk c, double *errors)
{
    const stream *s = r->converted;
    const model *m = &s->through->m;
    const int64_t C = m->d.C;
    chunk_upload(m->k, &activations_layer(s->acts, 0)->x, s->x, c);
    block_attention_input(m, layer, s->acts, 0);
    block_attention(m, layer, s->acts, 0);
    chunk_read(m->k, errors, &s->acts->s.delta, c);
    for (int64_t n = 0; n < c.rows; n++)
        for (int64_t i = 0; i < C; i++)
            errors[n * C + i] =
                ((double)r->target[(c.row + n) * C + i] - errors[n * C + i]) / (double)r->row_rms[c.row + n];
}

void remla_measure_heads(conversion_work *w, remla *r, int64_t windows)
{
    const comm *ranks = w->job->c;
    const stream *s = r->converted;
    const ops *k = w->job->k;
    const int64_t mine = (windows - ranks->rank + ranks->size - 1) / ranks->size,
                  rows = mine * s->text->ids.T;
    const tensor *heads = &activations_layer(s->acts, 0)->heads;
    const int64_t width = heads->dim[1];
    double *shares = w->chunk_rows, *errors = w->chunk_augmented;
    const layer_weights layer = layer_model_weights(s->through);
    refit_clear(&r->regression);
    EACH_CHUNK(c, s->text)
    {
        if (c.row >= rows) break;
        if (c.rows > rows - c.row) c.rows = rows - c.row;
        attention_errors(r, &layer, c, errors);
        chunk_download(k, r->heads, heads, c);
        chunk_read(k, shares, heads, c);
        for (int64_t n = 0; n < c.rows; n++)
            for (int64_t i = 0; i < width; i++) shares[n * width + i] /= (double)r->row_rms[c.row + n];
        refit_add(&r->regression, shares, errors, c.rows);
    }
    layer_model_release(s->through, UNIT_LAYER);
    refit_sum(&r->regression, ranks);
}

void remla_converted_forward(remla *r)
{
    stream *s = r->converted;
    const model *m = &s->through->m;
    const layer_weights layer = layer_model_weights(s->through);
    layer_acts *a = activations_layer(s->acts, 0);
    EACH_CHUNK(c, s->text)
    {
        chunk_upload(m->k, &a->x, s->x, c);
        chunk_upload(m->k, &a->heads, r->heads, c);
        block_attention_output(m, &layer, s->acts, 0);
        block_rest(m, &layer, s->acts, 0, &s->acts->last);
        chunk_download(m->k, s->x, &s->acts->last, c);
    }
    layer_model_release(s->through, UNIT_LAYER);
}
