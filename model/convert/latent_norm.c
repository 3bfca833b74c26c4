/* Latent norms that change almost nothing. DeepSeek's code always has an RMSNorm on the latents; a model
 * converted from GQA was trained without. Its weight is set to one number g, the least-squares solution of
 * g*x/r = x with r the root mean square of latent x. Where r varies much between tokens (the first token of
 * a window is an attention sink with a small latent) that destroys the model.
 *
 * The constant channel avoids it. The last latent dimension, the weakest component, is given up for a number
 * that is about the same for every token and larger than all others together. So the norm divides every
 * token by about the same. The number is kappa*s*(w.h): s is the typical length of the rest of the latent, w
 * the least-squares solution of w.h = 1. Where the projection has a bias it is exactly constant. Nothing
 * reads the channel (its column of kv_b is 0), except that q_b reads the queries' bias from it where it
 * carries one. The column's gradient is that of a bias times the channel, so the norm's weight makes the
 * channel as small as the other dimensions.
 *
 * w is solved with a strong ridge. New text has tokens that calibration has not, and a w that knows its own
 * text by heart is far from constant there. The ridge stands for inputs in directions never seen. */
#include "model/convert/pieces.h"
#include <math.h>
#include <stdlib.h>

/* Of the mean diagonal. */
#define RIDGE 0.01
/* Larger ones make the norm no more constant than w.h is, and widen the range of the cached latent. */
#define KAPPA 3.0
/* Of a bias, which is exact: the larger, the more constant the norm. */
#define KAPPA_EXACT 10.0

/* A latent of a layer: the rows that make it, what reads it, its norm. */
typedef struct latent {
    int64_t width, C, readers;
    double *down; /* (width,C) */
    double *bias; /* of down: (width), or NULL */
    double *up;   /* (readers,width) */
    double *norm; /* (width) */
} latent;

static latent latent_of(const mla_layer *l, const dims *d, int kind)
{
    return kind == LATENT_KV ? (latent){.width = d->R,
                                        .C = d->C,
                                        .readers = d->H * (d->Dn + d->Dv),
                                        .down = l->wkv_a,
                                        .bias = l->bkv_a,
                                        .up = l->wkv_b,
                                        .norm = l->kv_a_norm}
                             : (latent){.width = d->Rq,
                                        .C = d->C,
                                        .readers = d->H * (d->Dn + d->Dr),
                                        .down = l->wq_a,
                                        .bias = l->bq_a,
                                        .up = l->wq_b,
                                        .norm = l->q_a_norm};
}

/* What reads the last dimension: a column of up. */
static void column_multiply(const latent *x, double by)
{
    for (int64_t i = 0; i < x->readers; i++) x->up[i * x->width + x->width - 1] *= by;
}

static void multiply(double *values, int64_t count, double by)
{
    for (int64_t i = 0; i < count; i++) values[i] *= by;
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

static void norm_set(const latent *x, const latent_sums *s, bool constant_last)
{
    const double g = s->over_squared > 0 ? s->over / s->over_squared : 1;
    for (int64_t i = 0; i < x->width; i++) x->norm[i] = g;
    if (!constant_last) return;
    const double all = (double)x->width * (s->square - s->tokens * LATENT_NORM_EPS),
                 constant = all - s->energy, other = s->energy / (double)(x->width - 1);
    const double smaller = constant > 0 && other > 0 ? sqrt(other / constant) : 1;
    x->norm[x->width - 1] = g * smaller;
    column_multiply(x, 1 / smaller); /* what reads the channel gets as much as before */
}

void latent_norms_set(mla_layer *l, const dims *d, const latent_sums *sums, bool constant_last)
{
    for (int kind = 0; kind < latent_count(d); kind++) {
        const latent x = latent_of(l, d, kind);
        norm_set(&x, &sums[kind], constant_last);
    }
}

void latent_norms_enlarge(mla_layer *l, const dims *d, const latent_sums *sums)
{
    for (int kind = 0; kind < latent_count(d); kind++) {
        const latent x = latent_of(l, d, kind);
        const double square = sums[kind].square / sums[kind].tokens - LATENT_NORM_EPS;
        if (!(square > 0 && square < 1)) continue; /* a dead layer, or large enough */
        multiply(x.down, x.width * x.C, 1 / sqrt(square));
        if (x.bias) multiply(x.bias, x.width, 1 / sqrt(square));
    }
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
    const bool solved = diagonal > 0 && blas_solve_positive(C, 1, a, w); /* not where all inputs are zero */
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

double latent_constant_channel_set(mla_layer *l, const dims *d, const double *inputs, const latent_sums *sums)
{
    const int64_t C = d->C;
    double error, *w = constant_direction(inputs, C, &error), worst = 0;
    for (int kind = 0; kind < latent_count(d); kind++) {
        const latent x = latent_of(l, d, kind);
        const int64_t last = x.width - 1;
        const bool exact = x.bias != NULL, carries = exact && kind == LATENT_Q;
        const double size = (exact ? KAPPA_EXACT : KAPPA) * sqrt(sums[kind].energy / sums[kind].tokens);
        if (carries && !(size > 0)) continue; /* queries without weights: a bias is all that there is */
        for (int64_t i = 0; i < C; i++) x.down[last * C + i] = exact ? 0 : size * w[i];
        if (carries) /* it was a constant already, of another size */
            column_multiply(&x, x.bias[last] / size);
        else
            for (int64_t i = 0; i < x.readers; i++) x.up[i * x.width + last] = 0;
        if (exact) x.bias[last] = size;
        if (!exact) worst = error;
    }
    free(w);
    return worst;
}
