/* Latent norms that change almost nothing. DeepSeek's code always has an RMSNorm on the latents; a model
 * converted from GQA was trained without. Its weight is set to one number g, the least-squares solution of
 * g*x/r = x with r the root mean square of latent x. Where r varies much between tokens (the first token
 * of a window is an attention sink with a small latent) that destroys the model.
 * The constant channel avoids it: the last latent dimension, the weakest component, is given up for a
 * number that is about the same for every token and larger than the rest together, so that the norm
 * divides every token by about the same. The number is kappa*s*(w.h), s the typical length of the rest of
 * the latent, w the least-squares solution of w.h = 1; where the projection has a bias it is exactly
 * constant. kv_b and q_b ignore it. w is solved with a strong ridge: new text has tokens that calibration
 * has not, and for these a w that knows its own text by heart is far from constant. The ridge stands for
 * inputs in directions never seen.
 * Both norms are tried on the calibration text and the better one is kept. */
#include "model/convert_parts.h"
#include "base/log.h"
#include "kernels/blas.h"
#include <math.h>
#include <stdlib.h>

/* The first token of a window is rare, but every other one attends to it: in w it counts for this many. */
#define FIRST_WEIGHT 16.0
/* Of the mean diagonal. */
#define RIDGE 0.1
/* Larger ones make the norm no more constant than w.h is, and widen the range of the cached latent. */
#define KAPPA 3.0

typedef enum latent_kind { LATENT_KV, LATENT_Q, LATENT_KINDS } latent_kind;

/* What one norm touches: its weight, and the last latent dimension in the projection that makes the latent (a
 * row, a bias or rank 0) and in the one that reads it (a column). */
typedef struct channel {
    tensor row, bias, column, norm;
} channel;

static channel channel_of(model *m, int64_t layer, latent_kind kind)
{
    layer_weights *w = &m->w.layer[layer];
    const tensor *in = kind == LATENT_KV ? &w->wkv_a : &w->wq_a,
                 *out = kind == LATENT_KV ? &w->wkv_b : &w->wq_b;
    const int64_t last = (kind == LATENT_KV ? m->d.R : m->d.Rq) - 1;
    channel c = {.row = tensor_rows(in, last, 1),
                 .column = tensor_slice(out, last, 1),
                 .norm = kind == LATENT_KV ? w->kv_a_norm : w->q_a_norm};
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

/* ---- what is measured, without norms -------------------- */

/* y is what of a latent carries something, r the rms of the whole latent. */
typedef struct latent_sums {
    double energy;             /* |x|^2 of all dimensions but the last */
    double over, over_squared; /* |y|^2/r, |y|^2/r^2 */
    int64_t tokens;
} latent_sums;

static double best_scale(const latent_sums *s) { return s->over_squared > 0 ? s->over / s->over_squared : 1; }

typedef struct norm_pass {
    const model *m;
    latent_sums *sums;  /* (L,LATENT_KINDS) */
    bool constant_last; /* the last dimension is the constant channel */
    gram_set *inputs;   /* attention inputs, first tokens weighted; NULL: not wanted */
    double *rows;       /* (N,widest) */
} norm_pass;

static void latents_sum(const norm_pass *p, latent_sums *s, int64_t rows, int64_t width)
{
    for (int64_t n = 0; n < rows; n++) {
        const double *x = p->rows + n * width;
        double rest = 0;
        for (int64_t i = 0; i < width - 1; i++) rest += x[i] * x[i];
        const double whole = rest + x[width - 1] * x[width - 1], carried = p->constant_last ? rest : whole;
        const double r_squared = whole / (double)width + LATENT_NORM_EPS;
        s->energy += rest;
        s->over += carried / sqrt(r_squared);
        s->over_squared += carried / r_squared;
    }
    s->tokens += rows;
}

static void norm_tap(void *context, int layer, tap_point point, const tensor *x)
{
    norm_pass *p = context;
    if (point == TAP_ATTENTION_INPUT) {
        if (p->inputs) gram_tap(p->inputs, layer, point, x);
        return;
    }
    p->m->k->download_f64(p->rows, x, NULL);
    latents_sum(p, &p->sums[layer * LATENT_KINDS + (point == TAP_KV_LATENT ? LATENT_KV : LATENT_Q)],
                x->dim[0], x->dim[1]);
}

/* Returns the loss of the pass; the caller frees *sums. */
static double measure(model *m, const calibration *text, const char *stage, bool constant_last,
                      latent_sums **sums, gram_set *inputs)
{
    *sums = calloc((size_t)(m->d.L * LATENT_KINDS), sizeof **sums);
    if (!*sums) die(ERR_DEVICE, "no memory for %lld layers", (long long)m->d.L);
    const int64_t widest = m->d.Rq > m->d.R ? m->d.Rq : m->d.R;
    norm_pass p = {.m = m,
                   .sums = *sums,
                   .constant_last = constant_last,
                   .inputs = inputs,
                   .rows = matrix_new(m->B * m->T, widest)};
    const double loss = calibrate(m, text, stage, norm_tap, &p);
    free(p.rows);
    return loss;
}

static void scales_write(model *m, const latent_sums *sums)
{
    for (int64_t l = 0; l < m->d.L; l++)
        for (int kind = 0; kind < latent_kinds(m); kind++) {
            channel c = channel_of(m, l, (latent_kind)kind);
            fill(m->k, &c.norm, best_scale(&sums[l * LATENT_KINDS + kind]));
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

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void channels_write(model *m, const gram_set *inputs, const latent_sums *sums)
{
    const int64_t C = m->d.C, L = m->d.L;
    double *errors = matrix_new(1, L), *row = matrix_new(1, C);
    bool approximate = false;
    for (int64_t l = 0; l < L; l++) {
        double *w = constant_direction(inputs->s[l], C, &errors[l]);
        for (int kind = 0; kind < latent_kinds(m); kind++) {
            channel c = channel_of(m, l, (latent_kind)kind);
            const latent_sums *s = &sums[l * LATENT_KINDS + kind];
            const double size = KAPPA * sqrt(s->energy / (double)s->tokens);
            const bool exact = tensor_present(&c.bias);
            for (int64_t i = 0; i < C; i++) row[i] = exact ? 0 : size * w[i];
            matrix_write(m->k, &c.row, row);
            if (exact) fill(m->k, &c.bias, size);
            fill(m->k, &c.column, 0);
            approximate |= !exact;
        }
        free(w);
    }
    qsort(errors, (size_t)L, sizeof *errors, ascending);
    if (approximate)
        log_line("  constant channel: constant within %.1f %% (median over layers), %.1f %% (worst layer)",
                 100 * errors[L / 2], 100 * errors[L - 1]);
    free(errors);
    free(row);
}

/* ---- and back to the plain norm -------------------- */

/* The last dimension as it was. */
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
            saved[l * LATENT_KINDS + kind] =
                (last_dimension){.row = matrix_read(m->k, &c.row),
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

/* ---- the choice -------------------- */

double latent_norms_insert(model *m, const calibration *text)
{
    REQUIRE(!m->d.latent_norm, "the norms must be off while their inputs are measured");
    latent_sums *plain, *constant;

    /* 1 the plain norm, over all R components */
    gram_set inputs;
    gram_set_init(&inputs, m, FIRST_WEIGHT);
    const double without = measure(m, text, "latents", false, &plain, &inputs);
    scales_write(m, plain);
    const double loss_plain = loss_with_norms(m, text, "plain latent norm");

    /* 2 the constant channel beside R-1 */
    last_dimension *saved = last_save(m);
    channels_write(m, &inputs, plain);
    gram_set_free(&inputs);
    measure(m, text, "latents with constant channel", true, &constant, NULL);
    scales_write(m, constant);
    const double loss_constant = loss_with_norms(m, text, "norm with constant channel");

    /* 3 the better one; not a number counts as worse */
    const bool keep_plain = !(loss_constant <= loss_plain);
    if (keep_plain) {
        last_restore(m, saved);
        scales_write(m, plain);
    }
    const double kept = keep_plain ? loss_plain : loss_constant;
    log_line("  latent norms: loss on the calibration text %.4f without, %.4f with the constant channel, "
             "%.4f plain: kept %s, which costs %+.2f %%",
             without, loss_constant, loss_plain, keep_plain ? "the plain norm" : "the constant channel",
             100 * (kept / without - 1));
    last_free(saved, m->d.L * LATENT_KINDS);
    free(plain);
    free(constant);
    m->d.latent_norm = true;
    return kept;
}
