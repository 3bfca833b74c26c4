/* Which latent norm: the plain one, over all components, or the one with the constant channel. Both are tried
 * on the calibration text and the better one is kept. */
#include "model/convert/pieces.h"
#include "base/log.h"
#include <stdlib.h>

static double loss_with_norms(model *m, activations *a, const calibration *text, const char *stage)
{
    m->d.latent_norm = true;
    const double loss = calibrate(m, a, text, stage, NULL, NULL);
    m->d.latent_norm = false;
    return loss;
}

/* ---- what is measured, without norms -------------------- */

typedef struct norm_pass {
    const model *m;
    latent_sums *sums;  /* (L,LATENT_KINDS) */
    bool constant_last; /* the last dimension is the constant channel */
    gram_set *inputs;   /* attention inputs, first tokens weighted; NULL: not wanted */
    double *rows;       /* (N,widest) */
} norm_pass;

static void norm_tap(void *context, int layer, tap_point point, const tensor *x)
{
    norm_pass *p = context;
    if (point == TAP_ATTENTION_INPUT) {
        if (p->inputs) gram_tap(p->inputs, layer, point, x);
        return;
    }
    p->m->k->download_f64(p->rows, x, p->m->k->stream);
    latent_sums_add(&p->sums[layer * LATENT_KINDS + (point == TAP_KV_LATENT ? LATENT_KV : LATENT_Q)], p->rows,
                    x->dim[0], x->dim[1], p->constant_last);
}

/* Returns the loss of the pass; the caller frees *sums. */
static double measure(const model *m, activations *a, const calibration *text, const char *stage,
                      bool constant_last, latent_sums **sums, gram_set *inputs)
{
    *sums = calloc((size_t)(m->d.L * LATENT_KINDS), sizeof **sums);
    if (!*sums) die(ERR_DEVICE, "no memory for %lld layers", (long long)m->d.L);
    const int64_t widest = m->d.Rq > m->d.R ? m->d.Rq : m->d.R;
    norm_pass p = {.m = m,
                   .sums = *sums,
                   .constant_last = constant_last,
                   .inputs = inputs,
                   .rows = matrix_new(a->B * a->T, widest)};
    const double loss = calibrate(m, a, text, stage, norm_tap, &p);
    free(p.rows);
    return loss;
}

static void scales_write(model *m, const latent_sums *sums, bool constant_last)
{
    for (int64_t l = 0; l < m->d.L; l++)
        for (int kind = 0; kind < latent_kinds(&m->d); kind++)
            norm_weight_write(m, l, (latent_kind)kind, &sums[l * LATENT_KINDS + kind], constant_last);
}

static void latents_enlarge(model *m, const latent_sums *sums)
{
    for (int64_t l = 0; l < m->d.L; l++)
        for (int kind = 0; kind < latent_kinds(&m->d); kind++)
            latent_enlarge(m, l, (latent_kind)kind, &sums[l * LATENT_KINDS + kind]);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void channels_write(model *m, const gram_set *inputs, const latent_sums *sums)
{
    const int64_t L = m->d.L;
    double *errors = matrix_new(1, L);
    for (int64_t l = 0; l < L; l++)
        errors[l] = constant_channel_write(m, l, inputs->s[l], sums + l * LATENT_KINDS);
    qsort(errors, (size_t)L, sizeof *errors, ascending);
    if (errors[L - 1] > 0)
        log_line("  constant channel: constant within %.1f %% (median over layers), %.1f %% (worst layer)",
                 100 * errors[L / 2], 100 * errors[L - 1]);
    free(errors);
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
        for (int kind = 0; kind < latent_kinds(&m->d); kind++) {
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
        for (int kind = 0; kind < latent_kinds(&m->d); kind++) {
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

double latent_norms_insert(model *m, activations *a, const calibration *text)
{
    REQUIRE(!m->d.latent_norm, "the norms must be off while their inputs are measured");
    latent_sums *plain, *constant;

    /* 1 the plain norm, over all R components */
    gram_set inputs;
    gram_set_init(&inputs, m, a, FIRST_WEIGHT);
    const double without = measure(m, a, text, "latents", false, &plain, &inputs);
    scales_write(m, plain, false);
    const double loss_plain = loss_with_norms(m, a, text, "plain latent norm");

    /* 2 the constant channel beside R-1 */
    last_dimension *saved = last_save(m);
    channels_write(m, &inputs, plain);
    gram_set_free(&inputs);
    measure(m, a, text, "latents with constant channel", true, &constant, NULL);
    scales_write(m, constant, true);
    const double loss_constant = loss_with_norms(m, a, text, "norm with constant channel");

    /* 3 the better one; not a number counts as worse */
    const bool keep_plain = !(loss_constant <= loss_plain);
    if (keep_plain) {
        last_restore(m, saved);
        scales_write(m, plain, false);
    }
    latents_enlarge(m, keep_plain ? plain : constant);
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
