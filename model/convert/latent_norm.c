/* Latent norms that change almost nothing. DeepSeek's code always has an RMSNorm on the latents; a model
 * converted from GQA was trained without. Its weight is set to one number g, the least-squares solution of
 * g*x/r = x with r the root mean square of latent x. Where r varies much between tokens (the first token
 * of a window is an attention sink with a small latent) that destroys the model.
 * The constant channel avoids it: the last latent dimension, the weakest component, is given up for a
 * number that is about the same for every token and larger than the rest together, so that the norm
 * divides every token by about the same. The number is kappa*s*(w.h), s the typical length of the rest of
 * the latent, w the least-squares solution of w.h = 1; where the projection has a bias it is exactly
 * constant. kv_b ignores it, and so does q_b unless the channel carries the queries' bias: its column is 0,
 * and gets the gradient of a bias times the channel, so behind the norm the channel is made as small as the
 * others are. w is solved with a strong ridge: new text
 * has tokens that calibration has not, and for these a w that knows its own text by heart is far from
 * constant. The ridge stands for inputs in directions never seen. */
#include "model/convert/pieces.h"
#include <math.h>
#include <stdlib.h>

/* Of the mean diagonal. */
#define RIDGE 0.01
/* Larger ones make the norm no more constant than w.h is, and widen the range of the cached latent. */
#define KAPPA 3.0
/* Of a bias, which is exact: the larger, the more constant the norm. */
#define KAPPA_EXACT 10.0

int latent_kinds(const dims *d) { return d->Rq ? LATENT_KINDS : LATENT_Q; }

channel channel_of(model *m, int64_t layer, latent_kind kind)
{
    layer_weights *w = &m->w.layer[layer];
    const tensor *in = kind == LATENT_KV ? &w->wkv_a : &w->wq_a,
                 *out = kind == LATENT_KV ? &w->wkv_b : &w->wq_b;
    const int64_t last = (kind == LATENT_KV ? m->d.R : m->d.Rq) - 1;
    channel c = {.row = tensor_rows(in, last, 1),
                 .column = tensor_slice(out, last, 1),
                 .norm = kind == LATENT_KV ? w->kv_a_norm : w->q_a_norm};
    const tensor *bias = kind == LATENT_KV ? &w->bkv_a : &w->bq_a;
    if (tensor_present(bias)) c.bias = tensor_rows(bias, last, 1);
    return c;
}

static void fill(const ops *k, tensor *t, double value)
{
    const int64_t count = tensor_numel(t);
    double *values = matrix_new(1, count);
    for (int64_t i = 0; i < count; i++) values[i] = value;
    matrix_write(k, t, values);
    free(values);
}

static void multiply(const ops *k, tensor *t, double by)
{
    double *values = matrix_read(k, t);
    for (int64_t i = 0; i < tensor_numel(t); i++) values[i] *= by;
    matrix_write(k, t, values);
    free(values);
}

/* ---- the norm's weight -------------------- */

void latent_sums_add(latent_sums *s, const double *latents, int64_t rows, int64_t width, bool constant_last)
{
    for (int64_t n = 0; n < rows; n++) {
        const double *x = latents + n * width;
        double rest = 0;
        for (int64_t i = 0; i < width - 1; i++) rest += x[i] * x[i];
        const double whole = rest + x[width - 1] * x[width - 1], carried = constant_last ? rest : whole;
        const double r_squared = whole / (double)width + LATENT_NORM_EPS;
        s->energy += rest;
        s->over += carried / sqrt(r_squared);
        s->over_squared += carried / r_squared;
        s->square += r_squared;
    }
    s->tokens += (double)rows;
}

void norm_weight_write(model *m, int64_t layer, latent_kind kind, const latent_sums *s, bool constant_last)
{
    channel c = channel_of(m, layer, kind);
    const int64_t width = tensor_numel(&c.norm);
    const double g = s->over_squared > 0 ? s->over / s->over_squared : 1;
    fill(m->k, &c.norm, g);
    if (!constant_last) return;
    const double all = (double)width * (s->square - s->tokens * LATENT_NORM_EPS), constant = all - s->energy,
                 other = s->energy / (double)(width - 1);
    tensor last = tensor_rows(&c.norm, width - 1, 1);
    const double smaller = constant > 0 && other > 0 ? sqrt(other / constant) : 1;
    fill(m->k, &last, g * smaller);
    multiply(m->k, &c.column, 1 / smaller); /* what reads the channel gets as much as before */
}

void latent_enlarge(model *m, int64_t layer, latent_kind kind, const latent_sums *s)
{
    layer_weights *w = &m->w.layer[layer];
    const bool kv = kind == LATENT_KV;
    const double square = s->square / s->tokens - LATENT_NORM_EPS;
    if (!(square > 0 && square < 1)) return; /* a dead layer, or large enough */
    tensor rows = tensor_rows(kv ? &w->wkv_a : &w->wq_a, 0, kv ? m->d.R : m->d.Rq),
           bias = kv ? w->bkv_a : w->bq_a;
    multiply(m->k, &rows, 1 / sqrt(square));
    if (!tensor_present(&bias)) return;
    bias = tensor_rows(&bias, 0, rows.dim[0]);
    multiply(m->k, &bias, 1 / sqrt(square));
}

/* ---- the constant channel -------------------- */

/* w (C): w.h closest to 1 over the tokens that s (C+1,C+1) sums up, and 1 on average. *error: its relative
 * standard deviation. */
static double *constant_direction(const double *s, int64_t C, double *error)
{
    const int64_t width = C + 1;
    double *a = matrix_new(C, C), *w = matrix_new(1, C), diagonal = 0;
    for (int64_t i = 0; i < C; i++) diagonal += s[i * width + i] / (double)C;
    for (int64_t i = 0; i < C; i++) {
        for (int64_t j = 0; j < C; j++) a[i * C + j] = s[i * width + j] + (i == j ? RIDGE * diagonal : 0);
        w[i] = s[i * width + C];
    }
    const bool solved = diagonal > 0 && solve_positive(C, 1, a, w); /* not where all inputs are zero */
    double mean = 0, square = 0;
    for (int64_t i = 0; i < C; i++) {
        mean += w[i] * s[i * width + C] / s[C * width + C];
        for (int64_t j = 0; j < C; j++) square += w[i] * s[i * width + j] * w[j] / s[C * width + C];
    }
    const bool usable = solved && mean > 0;
    for (int64_t i = 0; i < C; i++) w[i] = usable ? w[i] / mean : 0;
    *error = usable ? sqrt(fmax(square / (mean * mean) - 1, 0)) : 1;
    free(a);
    return w;
}

double constant_channel_write(model *m, int64_t layer, const double *inputs, const latent_sums *sums)
{
    const int64_t C = m->d.C;
    double error, *w = constant_direction(inputs, C, &error), *row = matrix_new(1, C), worst = 0;
    for (int kind = 0; kind < latent_kinds(&m->d); kind++) {
        channel c = channel_of(m, layer, (latent_kind)kind);
        const bool exact = tensor_present(&c.bias), carries = exact && kind == LATENT_Q;
        const double size = (exact ? KAPPA_EXACT : KAPPA) * sqrt(sums[kind].energy / sums[kind].tokens);
        if (carries && !(size > 0)) continue; /* queries without weights: a bias is all that there is */
        for (int64_t i = 0; i < C; i++) row[i] = exact ? 0 : size * w[i];
        matrix_write(m->k, &c.row, row);
        if (carries) { /* it was a constant already, of another size */
            double *was = matrix_read(m->k, &c.bias);
            multiply(m->k, &c.column, was[0] / size);
            free(was);
        } else
            fill(m->k, &c.column, 0);
        if (exact) fill(m->k, &c.bias, size);
        if (!exact) worst = error;
    }
    free(w);
    free(row);
    return worst;
}
