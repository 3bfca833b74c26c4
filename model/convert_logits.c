/* The rotary part by what it does to the logits. At distance t the features a of a set give a query q and a
 * key k the logit Re sum_a conj(q_a) k_a exp(j theta_a t). The part of it that loses its rotation is wrong by
 * d_a = exp(j theta_a t) - 1, whose root mean square over distances is w_a. So of the bilinear form diag(w),
 * met by queries with Gram matrix Q = F^T F and keys with Gram matrix K = E^T E, the part of lower rank that
 * leaves the least becomes rotary: with F diag(w) E^T = U S V^T, key rows y = E^-1 V,    query rows x =
 * diag(w)^-1 F^-1 U S,    x^T y = 1, strongest first; the weaker singular vectors are the axes of the rest. A
 * component c that is kept turns with one frequency phi_c of the set instead of those of its features, so
 * that in the end the logits are wrong by the form diag(d) - sum_c x_c y_c^T (exp(j phi_c t) - 1). Its mean
 * square decides how the frequencies are best divided into sets: wide ones where frequencies are so low that
 * they hardly differ, narrow ones where they are high. */
#include "model/convert_parts.h"
#include "kernels/blas.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Distances are weighed by 1/(1+t): near ones are met most, and far ones count although calibration has none.
 */
enum { FARTHEST = 8192 };

/* (half,half): mean over distances of Re conj(exp(j theta_a t) - 1) (exp(j theta_b t) - 1). */
static double *rotation_gram(const dims *d)
{
    const int64_t half = d->D / 2;
    double *frequency = matrix_new(1, half), *turned = matrix_new(FARTHEST, 2 * half),
           *gram = matrix_new(half, half), total = 0;
    rope_frequencies(&d->rope, d->D, frequency);
    for (int64_t t = 0; t < FARTHEST; t++) total += 1 / (1.0 + (double)t);
    for (int64_t t = 0; t < FARTHEST; t++) {
        const double weight = sqrt(1 / (1.0 + (double)t) / total);
        for (int64_t i = 0; i < half; i++) {
            const double angle = frequency[i] * (double)t;
            turned[2 * t * half + i] = weight * (cos(angle) - 1);
            turned[(2 * t + 1) * half + i] = weight * sin(angle);
        }
    }
    gemm_f64(true, false, half, half, 2 * FARTHEST, 1, turned, half, turned, half, 0, gram, half);
    free(frequency);
    free(turned);
    return gram;
}

/* Sums over the heads of each group, (G*D,G*D) block diagonal. */
static double *group_queries(const dims *d, const double *queries)
{
    const int64_t D = d->D, n = d->G * D, share = d->H / d->G;
    double *all = matrix_new(n, n);
    for (int64_t h = 0; h < d->H; h++)
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++)
                all[(h / share * D + i) * n + h / share * D + j] += queries[(h * D + i) * D + j];
    return all;
}

typedef struct logits {
    const dims *d;
    int64_t rope;
    const double *key_gram; /* (G*D,G*D) */
    double *query_gram;     /* (G*D,G*D) */
    double *rotation;       /* rotation_gram */
} logits;

/* The axes of one set: columns of x and y (f,f), f = G * count, strongest first. */
typedef struct set_axes {
    double *x, *y;
    double error; /* mean square of what the logits lose */
} set_axes;

static void set_axes_free(set_axes *s)
{
    free(s->x);
    free(s->y);
}

/* Mean square of the form's error, over all queries and keys: with M the rotation's Gram matrix,
 *     sum_ab Q_ab K_ab M_ab - 2 sum_ca (Q x_c)_a (K y_c)_a M_a,phi(c) + sum_cd (x_c Q x_d) (y_c K y_d)
 * M_phi(c),phi(d). */
static double set_error(const logits *l, rope_set set, const double *q, const double *k, const double *x,
                        const double *y)
{
    const int64_t half = l->d->D / 2, f = l->d->G * set.count, kept = rope_kept(l->d, l->rope, set),
                  step = l->d->D / l->rope;
    const double *m = l->rotation;
    double *qx = matrix_new(f, kept), *ky = matrix_new(f, kept), *xqx = matrix_new(kept, kept),
           *yky = matrix_new(kept, kept), sum = 0;
    gemm_f64(false, false, f, kept, f, 1, q, f, x, f, 0, qx, kept);
    gemm_f64(false, false, f, kept, f, 1, k, f, y, f, 0, ky, kept);
    gemm_f64(true, false, kept, kept, f, 1, x, f, qx, kept, 0, xqx, kept);
    gemm_f64(true, false, kept, kept, f, 1, y, f, ky, kept, 0, yky, kept);
    for (int64_t a = 0; a < f; a++) {
        const double *row = m + (set.from + a % set.count) * half;
        for (int64_t b = 0; b < f; b++) sum += q[a * f + b] * k[a * f + b] * row[set.from + b % set.count];
        for (int64_t c = 0; c < kept; c++)
            sum -= 2 * qx[a * kept + c] * ky[a * kept + c] * row[set.from + c * step];
    }
    for (int64_t c = 0; c < kept; c++)
        for (int64_t e = 0; e < kept; e++)
            sum +=
                xqx[c * kept + e] * yky[c * kept + e] * m[(set.from + c * step) * half + set.from + e * step];
    double *const all[] = {qx, ky, xqx, yky};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return sum;
}

/* The factor of a Gram matrix, damped. */
static double *factored(const double *gram, int64_t n)
{
    double *factor = matrix_new(n, n);
    memcpy(factor, gram, sizeof *factor * (size_t)(n * n));
    damp(factor, n);
    REQUIRE(factor_positive(n, factor), "a damped Gram matrix of %lld features is not positive",
            (long long)n);
    return factor;
}

static set_axes set_axes_of(const logits *l, rope_set set)
{
    const int64_t diagonal = l->d->D / 2 + 1, f = l->d->G * set.count;
    double *q = matrix_new(f, f), *k = matrix_new(f, f), *form = matrix_new(f, f), *square = matrix_new(f, f),
           *values = matrix_new(1, f), *left = matrix_new(f, f), *w = matrix_new(1, f);
    rope_set_gram(q, l->d, set, l->query_gram);
    rope_set_gram(k, l->d, set, l->key_gram);
    double *of_q = factored(q, f), *of_k = factored(k, f);
    for (int64_t a = 0; a < f; a++) w[a] = sqrt(l->rotation[(set.from + a % set.count) * diagonal]);
    for (int64_t i = 0; i < f * f; i++) left[i] = of_q[i] * w[i % f];
    gemm_f64(false, true, f, f, f, 1, left, f, of_k, f, 0, form, f);
    gemm_f64(true, false, f, f, f, 1, form, f, form, f, 0, square, f);
    eigen_symmetric(f, square, values); /* rows: V */
    set_axes s = {.x = matrix_new(f, f), .y = transposed(square, f, f)};
    gemm_f64(false, false, f, f, f, 1, form, f, s.y, f, 0, s.x, f); /* U S */
    solve_upper(f, f, of_k, s.y);
    solve_upper(f, f, of_q, s.x);
    for (int64_t i = 0; i < f * f; i++) s.x[i] /= w[i / f];
    for (int64_t c = 0; c < f; c++) {
        double length = 0;
        for (int64_t a = 0; a < f; a++) length += s.y[a * f + c] * s.y[a * f + c];
        length = sqrt(length);
        for (int64_t a = 0; a < f; a++) s.y[a * f + c] /= length, s.x[a * f + c] *= length;
    }
    s.error = set_error(l, set, q, k, s.x, s.y);
    double *const all[] = {q, k, form, square, values, left, w, of_q, of_k};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return s;
}

/* Sets with more features than this are not tried: their axes cost the cube of it. */
enum { MOST_FEATURES = 512 };

static logits logits_of(const dims *d, int64_t rope, const double *key_gram, const double *queries)
{
    return (logits){.d = d,
                    .rope = rope,
                    .key_gram = key_gram,
                    .query_gram = group_queries(d, queries),
                    .rotation = rotation_gram(d)};
}

static void logits_free(logits *l)
{
    free(l->query_gram);
    free(l->rotation);
}

static rope_division division_new(int64_t sets)
{
    rope_division division = {.set = calloc((size_t)sets, sizeof *division.set), .sets = sets};
    if (!division.set) die(ERR_DEVICE, "no memory for %lld sets of frequencies", (long long)sets);
    return division;
}

void rope_division_free(rope_division *division)
{
    free(division->set);
    *division = (rope_division){0};
}

double rope_divide_flops(const dims *d, int64_t rope, int64_t freqfold)
{
    const int64_t half = d->D / 2, step = d->D / rope;
    double flops = 0;
    for (int64_t end = step; end <= half; end += step)
        for (int64_t count = step; count <= end; count *= 2) {
            const double f = (double)(d->G * count);
            if (freqfold || (count > step && f > MOST_FEATURES)) break;
            flops += 30 * f * f * f; /* eigenvectors, and ten products */
        }
    return flops;
}

/* The best set that ends at each place (index/step), by dynamic programming: the least error of all
 * frequencies below an end. */
static rope_set *best_ends(const logits *l)
{
    const int64_t half = l->d->D / 2, step = l->d->D / l->rope;
    double *least = matrix_new(1, half / step + 1);
    rope_set *best = calloc((size_t)(half / step) + 1, sizeof *best);
    if (!best) die(ERR_DEVICE, "no memory for %lld frequencies", (long long)half);
    for (int64_t end = step; end <= half; end += step) {
        least[end / step] = INFINITY;
        for (int64_t count = step; count <= end; count *= 2) {
            if (count > step && l->d->G * count > MOST_FEATURES) break;
            const rope_set set = {end - count, count};
            set_axes s = set_axes_of(l, set);
            const double error = least[set.from / step] + s.error;
            if (error < least[end / step]) least[end / step] = error, best[end / step] = set;
            set_axes_free(&s);
        }
    }
    free(least);
    return best;
}

static rope_division divide_by_logits(const logits *l)
{
    const int64_t half = l->d->D / 2, step = l->d->D / l->rope;
    rope_set *best = best_ends(l);
    int64_t sets = 0;
    for (int64_t end = half; end > 0; end = best[end / step].from) sets++;
    rope_division division = division_new(sets);
    for (int64_t end = half; end > 0; end = best[end / step].from) division.set[--sets] = best[end / step];
    free(best);
    return division;
}

rope_division rope_divide(const dims *d, int64_t rope, int64_t freqfold, const double *key_gram,
                          const double *queries)
{
    if (freqfold) {
        rope_division division = division_new(d->D / 2 / freqfold);
        for (int64_t i = 0; i < division.sets; i++) division.set[i] = (rope_set){i * freqfold, freqfold};
        return division;
    }
    logits l = logits_of(d, rope, key_gram, queries);
    const rope_division division = divide_by_logits(&l);
    logits_free(&l);
    return division;
}

key_basis rope_by_logits(const dims *d, int64_t rope, const rope_division *division, const double *key_gram,
                         const double *queries)
{
    const int64_t n = d->G * d->D, half = d->D / 2;
    key_basis out = {.keys = matrix_new(n, n), .queries = matrix_new(n, n)};
    logits l = logits_of(d, rope, key_gram, queries);
    for (int64_t i = 0; i < division->sets; i++) {
        const rope_set set = division->set[i];
        const int64_t f = d->G * set.count;
        set_axes s = set_axes_of(&l, set);
        for (int64_t c = 0; c < f; c++) {
            const int64_t row = rope_row(d, rope, set, c);
            for (int64_t a = 0; a < f; a++) {
                const int64_t column = rope_feature(d, set, a);
                out.keys[row * n + column] = out.keys[(row + 1) * n + column + half] = s.y[a * f + c];
                out.queries[row * n + column] = out.queries[(row + 1) * n + column + half] = s.x[a * f + c];
            }
        }
        set_axes_free(&s);
    }
    logits_free(&l);
    return out;
}
