/* delta = argmin |Y - X delta^T|^2 + s mean_diag(X^T X) |delta|^2. A small s fits the calibration text, a large
 * one keeps o_proj as it was. Parts of the text that a fit has not seen decide: s is doubled or halved from
 * where it usually ends up as long as that helps them. */
#include "model/convert_refit.h"
#include "kernels/blas.h"
#include "model/convert_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USUAL 0.1
#define STEP 2.0
#define WEAKEST 1e-4
#define STRONGEST 100.0

void refit_init(refit *r, int64_t width, int64_t C)
{
    *r = (refit){.width = width, .C = C};
    for (int f = 0; f < REFIT_FOLDS; f++) {
        r->gram[f] = matrix_new(width, width);
        r->cross[f] = matrix_new(width, C);
    }
}

void refit_free(refit *r)
{
    for (int f = 0; f < REFIT_FOLDS; f++) {
        free(r->gram[f]);
        free(r->cross[f]);
    }
}

void refit_clear(refit *r)
{
    for (int f = 0; f < REFIT_FOLDS; f++) {
        memset(r->gram[f], 0, sizeof(double) * (size_t)(r->width * r->width));
        memset(r->cross[f], 0, sizeof(double) * (size_t)(r->width * r->C));
        r->sums[f][0] = r->sums[f][1] = 0;
    }
}

void refit_add(refit *r, int fold, const double *x, const double *y, int64_t tokens)
{
    const int64_t w = r->width, C = r->C;
    gemm_f64(true, false, w, w, tokens, 1, x, w, x, w, 1, r->gram[fold], w);
    gemm_f64(true, false, w, C, tokens, 1, x, w, y, C, 1, r->cross[fold], C);
    for (int64_t i = 0; i < tokens * C; i++) r->sums[fold][0] += y[i] * y[i];
    r->sums[fold][1] += (double)tokens;
}

void refit_sum(refit *r, const comm *c)
{
    for (int f = 0; f < REFIT_FOLDS; f++) {
        comm_sum_f64(c, r->gram[f], r->width * r->width);
        comm_sum_f64(c, r->cross[f], r->width * r->C);
        comm_sum_f64(c, r->sums[f], 2);
    }
}

/* Everything but part `without` (-1: everything). */
static void add_up(const refit *r, int without, double *gram, double *cross)
{
    memset(gram, 0, sizeof *gram * (size_t)(r->width * r->width));
    memset(cross, 0, sizeof *cross * (size_t)(r->width * r->C));
    for (int f = 0; f < REFIT_FOLDS; f++) {
        if (f == without) continue;
        for (int64_t i = 0; i < r->width * r->width; i++) gram[i] += r->gram[f][i];
        for (int64_t i = 0; i < r->width * r->C; i++) cross[i] += r->cross[f][i];
    }
}

/* cross becomes delta^T (width,C); gram is overwritten. Zero where there is nothing to fit. */
static void solve(const refit *r, double *gram, double *cross, double ridge)
{
    double mean = 0;
    for (int64_t i = 0; i < r->width; i++) mean += gram[i * r->width + i] / (double)r->width;
    for (int64_t i = 0; i < r->width; i++) gram[i * r->width + i] += ridge * mean;
    if (!(mean > 0) || !solve_positive(r->width, r->C, gram, cross))
        memset(cross, 0, sizeof *cross * (size_t)(r->width * r->C));
}

/* |Y - X d|^2 over part `fold`; half is room for (width,C). */
static double error_of(const refit *r, int fold, const double *d, double *half)
{
    const int64_t w = r->width, C = r->C;
    gemm_f64(false, false, w, C, w, 1, r->gram[fold], w, d, C, 0, half, C);
    double error = r->sums[fold][0];
    for (int64_t i = 0; i < w * C; i++) error += d[i] * (half[i] - 2 * r->cross[fold][i]);
    return error;
}

typedef struct workspace {
    double *gram, *cross, *half;
} workspace;

static double held_out_error(const refit *r, double ridge, const workspace *s)
{
    double error = 0;
    for (int f = 0; f < REFIT_FOLDS; f++) {
        if (r->sums[f][1] == 0) continue;
        add_up(r, f, s->gram, s->cross);
        solve(r, s->gram, s->cross, ridge);
        error += error_of(r, f, s->cross, s->half);
    }
    return error;
}

/* From `ridge` on by factors of `step` while the parts held out gain. */
static double walk(const refit *r, double ridge, double step, double *best, const workspace *s)
{
    for (double next = ridge * step; next >= WEAKEST && next <= STRONGEST; next *= step) {
        const double error = held_out_error(r, next, s);
        if (!(error < *best)) break;
        *best = error;
        ridge = next;
    }
    return ridge;
}

refit_result refit_solve(const refit *r)
{
    const workspace s = {matrix_new(r->width, r->width), matrix_new(r->width, r->C), matrix_new(r->width, r->C)};
    refit_result out = {.ridge = USUAL, .held_out = held_out_error(r, USUAL, &s)};
    if (getenv("EXP_RIDGE")) {
        out.ridge = atof(getenv("EXP_RIDGE"));
        goto done;
    }
    const double stronger = walk(r, USUAL, STEP, &out.held_out, &s);
    out.ridge = stronger > USUAL ? stronger : walk(r, USUAL, 1 / STEP, &out.held_out, &s);
done:
    add_up(r, -1, s.gram, s.cross);
    solve(r, s.gram, s.cross, out.ridge);
    for (int f = 0; f < REFIT_FOLDS; f++) {
        out.before += r->sums[f][0];
        out.after += error_of(r, f, s.cross, s.half);
    }
    out.delta = transposed(s.cross, r->width, r->C);
    free(s.gram);
    free(s.cross);
    free(s.half);
    return out;
}
