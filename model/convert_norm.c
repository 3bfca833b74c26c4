/* Latent norms that change almost nothing. DeepSeek's code always has an RMSNorm on the latents; a model converted from GQA was trained without. Its weight is set to
 * one number g, the least-squares solution of g*x/r = x with r the root mean square of latent x. Where r varies much between tokens (the first token of a window is an
 * attention sink with a small latent) that destroys the model.
 * The constant channel avoids it: the last latent dimension, the weakest component, is given up for a number that is about the same for every token and larger than the
 * rest together, so that the norm divides every token by about the same. The number is kappa*s*(w.h), s the typical length of the rest of the latent, w the
 * least-squares solution of w.h = 1; where the projection has a bias it is exactly constant. kv_b and q_b ignore it.
 * Little text and many dimensions let w learn its tokens by heart. So ridge and kappa are chosen, layer by layer, for what they do to tokens that w has not seen: it is
 * solved on the tokens with even ids for those with odd ids, and the other way round.
 * Both norms are tried on the calibration text and the better one is kept. */
#include "model/convert_parts.h"
#include "base/log.h"
#include "kernels/blas.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The first token of a window is rare, but every other one attends to it: it counts for this many. */
#define FIRST_WEIGHT 16.0

static const double ridges[] = {1e-4, 1e-3, 1e-2, 1e-1, 1}; /* of the mean diagonal */
static const double kappas[] = {2, 3, 5};                   /* larger ones would widen the range of the cached latent */
enum { RIDGES = sizeof ridges / sizeof *ridges, KAPPAS = sizeof kappas / sizeof *kappas, HALVES = 2 };

typedef enum latent_kind { LATENT_KV, LATENT_Q, LATENT_KINDS } latent_kind;

/* What one norm touches. `bias` has rank 0 when there is none. */
typedef struct channel {
    tensor row, bias, column; /* of the last latent dimension, in the projection that makes the latent and in the one that reads it */
    tensor norm;
} channel;

static channel channel_of(model *m, int64_t layer, latent_kind kind)
{
    layer_weights *w = &m->w.layer[layer];
    const tensor *in = kind == LATENT_KV ? &w->wkv_a : &w->wq_a, *out = kind == LATENT_KV ? &w->wkv_b : &w->wq_b;
    const int64_t last = (kind == LATENT_KV ? m->d.R : m->d.Rq) - 1;
    channel c = {.row = tensor_rows(in, last, 1), .column = tensor_slice(out, last, 1), .norm = kind == LATENT_KV ? w->kv_a_norm : w->q_a_norm};
    if (kind == LATENT_KV && tensor_present(&w->bkv_a)) c.bias = tensor_rows(&w->bkv_a, last, 1);
    return c;
}

static int latent_kinds(const model *m) { return m->d.Rq ? LATENT_KINDS : LATENT_Q; }

static void fill(const ops *k, tensor *t, double value)
{
    const int64_t count = tensor_numel(t);
    double *values = matrix_new(1, count);
    for (int64_t i = 0; i < count; i++) values[i] = value;
    matrix_write(k, t, values);
    free(values);
}

static double loss_with_norms(model *m, const calibration *text, const char *stage)
{
    m->d.latent_norm = true;
    const double loss = calibrate(m, text, stage, NULL, NULL);
    m->d.latent_norm = false;
    return loss;
}

/* ---- what is measured, without norms ------------------------------------------------------------------------------ */

/* Sums over tokens that tell how well dividing by r, times one number, leaves them as they are. */
typedef struct scale_sums {
    double over, over_squared;                 /* |x|^2/r, |x|^2/r^2 */
    double weight, even_over, even_over_squared; /* a, a/r, a/r^2: every token alike, first ones FIRST_WEIGHT times */
} scale_sums;

static void scale_add(scale_sums *s, double length_squared, double r_squared, double weight)
{
    const double r = sqrt(r_squared);
    s->over += length_squared / r;
    s->over_squared += length_squared / r_squared;
    s->weight += weight;
    s->even_over += weight / r;
    s->even_over_squared += weight / r_squared;
}

/* The least-squares g, and the mean square of what g/r lacks to 1. */
static double scale_best(const scale_sums *s) { return s->over_squared > 0 ? s->over / s->over_squared : 1; }
static double scale_error(const scale_sums *s) { return fmax(1 - s->even_over * s->even_over / (s->even_over_squared * s->weight), 0); }

typedef struct latent_sums {
    double energy; /* |x|^2 of all dimensions but the last */
    int64_t tokens;
    scale_sums plain;
    scale_sums constant[RIDGES][KAPPAS]; /* with the channel in place of the last dimension */
} latent_sums;

typedef struct directions {
    double *w[RIDGES][HALVES]; /* (C) each, solved on that half; NULL in the first pass */
} directions;

typedef struct norm_pass {
    const model *m;
    const calibration *text;
    int64_t seen;         /* tokens of the batches before this one */
    latent_sums *sums;    /* (L,LATENT_KINDS) */
    double **half;        /* first pass: (L,HALVES) weighted sums of [h;1][h;1]^T */
    directions *found;    /* second pass: (L) */
    double *rows, *sorted; /* of a batch: (N,widest), (N,C+1) */
    double *constants;    /* (N,RIDGES) w.h of the layer in work, w from the other half */
} norm_pass;

static int half_of(const norm_pass *p, int64_t n) { return p->text->tokens[p->seen + n] & 1; }
static double weight_of(const norm_pass *p, int64_t n) { return n % p->m->T == 0 ? FIRST_WEIGHT : 1; }

/* First pass: the inputs of each half. */
static void inputs_sum(norm_pass *p, int layer, int64_t rows, int64_t C)
{
    for (int half = 0; half < HALVES; half++) {
        int64_t count = 0;
        for (int64_t n = 0; n < rows; n++)
            if (half_of(p, n) == half) row_augment(p->sorted + count++ * (C + 1), p->rows + n * C, C, sqrt(weight_of(p, n)));
        if (count) gemm_f64(true, false, C + 1, C + 1, count, 1, p->sorted, C + 1, p->sorted, C + 1, 1, p->half[layer * HALVES + half], C + 1);
    }
}

/* Second pass: how constant the channel is for tokens that it was not made from. */
static void constants_compute(norm_pass *p, int layer, int64_t rows, int64_t C)
{
    for (int64_t n = 0; n < rows; n++)
        for (int i = 0; i < RIDGES; i++) {
            const double *w = p->found[layer].w[i][1 - half_of(p, n)], *h = p->rows + n * C;
            double sum = 0;
            for (int64_t c = 0; c < C; c++) sum += w[c] * h[c];
            p->constants[n * RIDGES + i] = sum;
        }
}

static void latents_sum(norm_pass *p, int layer, latent_kind kind, int64_t rows, int64_t width)
{
    latent_sums *s = &p->sums[layer * LATENT_KINDS + kind];
    const bool exact = kind == LATENT_KV && p->m->d.k_bias;
    const double length = p->found ? sqrt(s->energy / (double)s->tokens) : 0;
    for (int64_t n = 0; n < rows; n++) {
        const double *x = p->rows + n * width;
        double rest = 0;
        for (int64_t i = 0; i < width - 1; i++) rest += x[i] * x[i];
        if (!p->found) {
            const double whole = rest + x[width - 1] * x[width - 1];
            scale_add(&s->plain, whole, whole / (double)width + LATENT_NORM_EPS, weight_of(p, n));
            s->energy += rest;
            s->tokens++;
            continue;
        }
        for (int i = 0; i < RIDGES; i++)
            for (int j = 0; j < KAPPAS; j++) {
                const double constant = kappas[j] * length * (exact ? 1 : p->constants[n * RIDGES + i]);
                scale_add(&s->constant[i][j], rest, (rest + constant * constant) / (double)width + LATENT_NORM_EPS, weight_of(p, n));
            }
    }
}

static void norm_tap(void *context, int layer, tap_point point, const tensor *x)
{
    norm_pass *p = context;
    const int64_t rows = x->dim[0], width = x->dim[1];
    p->m->k->download_f64(p->rows, x, NULL);
    switch (point) {
    case TAP_ATTENTION_INPUT:
        if (p->found)
            constants_compute(p, layer, rows, width);
        else
            inputs_sum(p, layer, rows, width);
        break;
    case TAP_Q_LATENT: latents_sum(p, layer, LATENT_Q, rows, width); break;
    case TAP_KV_LATENT: /* the last of a layer */
        latents_sum(p, layer, LATENT_KV, rows, width);
        if (layer == p->m->d.L - 1) p->seen += rows;
        break;
    }
}

static double measure(norm_pass *p, model *m, const char *stage)
{
    const int64_t N = m->B * m->T, latent = m->d.Rq > m->d.R ? m->d.Rq : m->d.R;
    p->seen = 0;
    p->rows = matrix_new(N, latent > m->d.C ? latent : m->d.C);
    p->sorted = matrix_new(N, m->d.C + 1);
    p->constants = matrix_new(N, RIDGES);
    const double loss = calibrate(m, p->text, stage, norm_tap, p);
    free(p->rows);
    free(p->sorted);
    free(p->constants);
    return loss;
}

/* ---- the constant channel ----------------------------------------------------------------------------------------- */

/* w (C): w.h closest to 1 over the tokens that s (C+1,C+1) sums up, and 1 on average. */
static double *constant_direction(const double *s, int64_t C, double ridge)
{
    const int64_t width = C + 1;
    double *a = matrix_new(C, C), *w = matrix_new(1, C), diagonal = 0, mean = 0;
    for (int64_t i = 0; i < C; i++) diagonal += s[i * width + i] / (double)C;
    for (int64_t i = 0; i < C; i++) {
        for (int64_t j = 0; j < C; j++) a[i * C + j] = s[i * width + j] + (i == j ? ridge * diagonal : 0);
        w[i] = s[i * width + C];
    }
    const bool solved = diagonal > 0 && solve_positive(C, 1, a, w); /* not when there is no token, or all inputs are zero */
    for (int64_t i = 0; i < C; i++) mean += w[i] * s[i * width + C] / s[C * width + C];
    for (int64_t i = 0; i < C; i++) w[i] = solved && mean > 0 ? w[i] / mean : 0;
    free(a);
    return w;
}

static void directions_find(directions *d, double *const half[HALVES], int64_t C)
{
    for (int i = 0; i < RIDGES; i++)
        for (int h = 0; h < HALVES; h++) d->w[i][h] = constant_direction(half[h], C, ridges[i]);
}

static void directions_free(directions *d)
{
    for (int i = 0; i < RIDGES; i++)
        for (int h = 0; h < HALVES; h++) free(d->w[i][h]);
}

/* Writes the best channel of one latent and its norm. whole: the sums over both halves. Returns what is left of the norm's variation, relative. */
static double channel_write(model *m, channel *c, const latent_sums *s, const double *whole)
{
    int ridge = 0, kappa = 0;
    for (int i = 0; i < RIDGES; i++)
        for (int j = 0; j < KAPPAS; j++)
            if (scale_error(&s->constant[i][j]) < scale_error(&s->constant[ridge][kappa])) ridge = i, kappa = j;

    const double size = kappas[kappa] * sqrt(s->energy / (double)s->tokens);
    const bool exact = tensor_present(&c->bias);
    double *row = exact ? matrix_new(1, m->d.C) : constant_direction(whole, m->d.C, ridges[ridge]);
    for (int64_t i = 0; i < m->d.C; i++) row[i] *= size;
    matrix_write(m->k, &c->row, row);
    if (exact) fill(m->k, &c->bias, size);
    fill(m->k, &c->column, 0);
    fill(m->k, &c->norm, scale_best(&s->constant[ridge][kappa]));
    free(row);
    return sqrt(scale_error(&s->constant[ridge][kappa]));
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void channels_write(model *m, const norm_pass *p)
{
    const int64_t L = m->d.L, width = m->d.C + 1;
    const int kinds = latent_kinds(m);
    double *errors = matrix_new(L, kinds), *whole = matrix_new(width, width);
    for (int64_t l = 0; l < L; l++) {
        for (int64_t i = 0; i < width * width; i++) whole[i] = p->half[l * HALVES][i] + p->half[l * HALVES + 1][i];
        for (int kind = 0; kind < kinds; kind++) {
            channel c = channel_of(m, l, (latent_kind)kind);
            errors[l * kinds + kind] = channel_write(m, &c, &p->sums[l * LATENT_KINDS + kind], whole);
        }
    }
    qsort(errors, (size_t)(L * kinds), sizeof *errors, ascending);
    log_line("  constant channel: latents are divided by the same number within %.1f %% (median over layers), %.1f %% (worst layer)", 100 * errors[L * kinds / 2],
             100 * errors[L * kinds - 1]);
    free(errors);
    free(whole);
}

/* ---- the plain norm ------------------------------------------------------------------------------------------------ */

static void plain_write(model *m, const latent_sums *sums)
{
    for (int64_t l = 0; l < m->d.L; l++)
        for (int kind = 0; kind < latent_kinds(m); kind++) {
            channel c = channel_of(m, l, (latent_kind)kind);
            fill(m->k, &c.norm, scale_best(&sums[l * LATENT_KINDS + kind].plain));
        }
}

/* The last dimension as it was, to go back to the plain norm. */
typedef struct last_dimension {
    double *row, *bias, *column;
} last_dimension;

static last_dimension *last_save(model *m)
{
    last_dimension *saved = calloc((size_t)(m->d.L * LATENT_KINDS), sizeof *saved);
    if (!saved) die(ERR_DEVICE, "no memory for %lld layers", (long long)m->d.L);
    for (int64_t l = 0; l < m->d.L; l++)
        for (int kind = 0; kind < latent_kinds(m); kind++) {
            const channel c = channel_of(m, l, (latent_kind)kind);
            saved[l * LATENT_KINDS + kind] = (last_dimension){.row = matrix_read(m->k, &c.row),
                                                              .bias = tensor_present(&c.bias) ? matrix_read(m->k, &c.bias) : NULL,
                                                              .column = matrix_read(m->k, &c.column)};
        }
    return saved;
}

static void last_restore(model *m, const last_dimension *saved)
{
    for (int64_t l = 0; l < m->d.L; l++)
        for (int kind = 0; kind < latent_kinds(m); kind++) {
            channel c = channel_of(m, l, (latent_kind)kind);
            const last_dimension *s = &saved[l * LATENT_KINDS + kind];
            matrix_write(m->k, &c.row, s->row);
            if (s->bias) matrix_write(m->k, &c.bias, s->bias);
            matrix_write(m->k, &c.column, s->column);
        }
}

static void last_free(last_dimension *saved, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        free(saved[i].row);
        free(saved[i].bias);
        free(saved[i].column);
    }
    free(saved);
}

/* ---- the choice ------------------------------------------------------------------------------------------------------ */

double latent_norms_insert(model *m, const calibration *text)
{
    REQUIRE(!m->d.latent_norm, "the norms must be off while their inputs are measured");
    const int64_t L = m->d.L, width = m->d.C + 1;
    norm_pass p = {.m = m, .text = text};
    p.sums = calloc((size_t)(L * LATENT_KINDS), sizeof *p.sums);
    p.half = calloc((size_t)(L * HALVES), sizeof *p.half);
    directions *found = calloc((size_t)L, sizeof *found);
    if (!p.sums || !p.half || !found) die(ERR_DEVICE, "no memory for %lld layers", (long long)L);
    for (int64_t i = 0; i < L * HALVES; i++) p.half[i] = matrix_new(width, width);

    /* 1 the plain norm, over all R components */
    const double without = measure(&p, m, "latents");
    plain_write(m, p.sums);
    const double loss_plain = loss_with_norms(m, text, "plain latent norm");

    /* 2 the constant channel beside R-1 components */
    for (int64_t l = 0; l < L; l++) directions_find(&found[l], &p.half[l * HALVES], m->d.C);
    p.found = found;
    measure(&p, m, "latents beside a constant channel");
    last_dimension *saved = last_save(m);
    channels_write(m, &p);
    const double loss_constant = loss_with_norms(m, text, "norm with constant channel");

    /* 3 the better one; not a number counts as worse */
    const bool keep_plain = !(loss_constant <= loss_plain);
    if (keep_plain) {
        last_restore(m, saved);
        plain_write(m, p.sums);
    }
    const double kept = keep_plain ? loss_plain : loss_constant;
    log_line("  latent norms: loss on the calibration text %.4f without, %.4f with the constant channel, %.4f plain: kept %s, which costs %+.2f %%", without,
             loss_constant, loss_plain, keep_plain ? "the plain norm" : "the constant channel", 100 * (kept / without - 1));
    last_free(saved, L * LATENT_KINDS);
    for (int64_t l = 0; l < L; l++) directions_free(&found[l]);
    for (int64_t i = 0; i < L * HALVES; i++) free(p.half[i]);
    free(found);
    free(p.half);
    free(p.sums);
    m->d.latent_norm = true;
    return kept;
}
