/* Calibration: text runs through a model while a tap gathers statistics. Whatever the later steps need of
 * the attention inputs h is in one matrix per layer, the sum of [h;1][h;1]^T in double: Gram matrices of
 * any projection of h, biases included, follow from it. */
#include "base/clock.h"
#include "model/convert/pieces.h"
#include "base/log.h"
#include "kernels/cpu/blas.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_ROWS = 2048, QUIET_SECONDS = 10 };

int64_t calibration_batch(const calibration *text)
{
    const int64_t wanted = BATCH_ROWS / text->T;
    return wanted < 1 ? 1 : wanted < text->windows ? wanted : text->windows;
}

/* The last batch may be filled up with blank windows, which the tap must not see. */
typedef struct real_rows {
    activations_tap *tap;
    void *context;
    int64_t rows;
} real_rows;

static void real_rows_tap(void *context, int layer, tap_point point, const tensor *x)
{
    const real_rows *r = context;
    const tensor real = tensor_rows(x, 0, r->rows);
    r->tap(r->context, layer, point, &real);
}

void calibration_activations(activations *a, const calibration *text, const model *m)
{
    activations_init(a, &m->d, m->k, calibration_batch(text), text->T, FORWARD_ONLY);
}

double calibrate(const model *m, activations *a, const calibration *text, const char *stage,
                 activations_tap *tap, void *context)
{
    REQUIRE(a->T == text->T, "windows of %lld tokens for activations laid out for %lld", (long long)text->T,
            (long long)a->T);
    const double start = clock_seconds();
    const int64_t N = a->B * a->T;
    int32_t *batch = calloc((size_t)(3 * N), sizeof *batch);
    if (!batch) die(ERR_DEVICE, "no memory for a batch of %lld tokens", (long long)N);
    real_rows real = {.tap = tap, .context = context};
    if (tap) a->tap = real_rows_tap, a->tap_context = &real;

    double sum = 0, said = start;
    int64_t counted = 0;
    char time[24];
    for (int64_t window = 0; window < text->windows; window += a->B) {
        const int64_t left = text->windows - window, windows = left < a->B ? left : a->B;
        real.rows = windows * text->T;
        int32_t *tokens = batch,
                *targets = batch + N; /* the third part stays 0: every position sees its whole past */
        memcpy(tokens, text->tokens + window * text->T, sizeof *tokens * (size_t)real.rows);
        memcpy(targets, text->targets + window * text->T, sizeof *targets * (size_t)real.rows);
        for (int64_t i = 0; i < real.rows; i++) counted += targets[i] >= 0;
        for (int64_t i = real.rows; i < N; i++) tokens[i] = 0, targets[i] = -1;
        sum += model_evaluate(
            m, a,
            &(token_batch){
                .sequences = a->B, .T = a->T, .tokens = tokens, .targets = targets, .first = batch + 2 * N});

        const double now = clock_seconds();
        const int64_t done = window + windows;
        if (now - said < QUIET_SECONDS || done == text->windows) continue;
        said = now;
        log_line("  %-36s %lld of %lld windows, %s left", stage, (long long)done, (long long)text->windows,
                 duration_text((now - start) * (double)(text->windows - done) / (double)done, time));
    }
    if (tap) a->tap = NULL, a->tap_context = NULL;
    free(batch);
    const double loss = sum / (double)(counted ? counted : 1);
    log_line("  %-36s loss %.4f  (%.1f s)", stage, loss, clock_seconds() - start);
    return loss;
}

void gram_set_init(gram_set *g, const model *m, const activations *a, double first_weight)
{
    *g = (gram_set){.k = m->k, .L = m->d.L, .T = a->T, .first_weight = first_weight};
    g->s = calloc((size_t)g->L, sizeof *g->s);
    if (!g->s) die(ERR_DEVICE, "no memory for %lld layers", (long long)g->L);
    for (int64_t l = 0; l < g->L; l++) g->s[l] = matrix_new(m->d.C + 1, m->d.C + 1);
    g->rows = matrix_new(a->B * a->T, m->d.C);
    g->augmented = matrix_new(a->B * a->T, m->d.C + 1);
}

void gram_set_free(gram_set *g)
{
    for (int64_t l = 0; l < g->L; l++) free(g->s[l]);
    free(g->s);
    free(g->rows);
    free(g->augmented);
}

void gram_add(double *s, double *augmented, const double *values, int64_t rows, int64_t C, int64_t T,
              double first_weight)
{
    const int64_t width = C + 1;
    for (int64_t n = 0; n < rows; n++) {
        const double root = sqrt(n % T == 0 ? first_weight : 1), *row = values + n * C;
        double *out = augmented + n * width;
        for (int64_t c = 0; c < C; c++) out[c] = root * row[c];
        out[C] = root;
    }
    gemm_f64(true, false, width, width, rows, 1, augmented, width, augmented, width, 1, s, width);
}

void gram_tap(void *context, int layer, tap_point point, const tensor *x)
{
    gram_set *g = context;
    if (point != TAP_ATTENTION_INPUT) return;
    g->k->download_f64(g->rows, x, g->k->stream);
    gram_add(g->s[layer], g->augmented, g->rows, x->dim[0], x->dim[1], g->T, g->first_weight);
}
