/* Finds the division of the frequencies into sets that changes the logits least. At distance t the features
 * a of a set give a query q and a key k the logit Re sum_a conj(q_a) k_a exp(j theta_a t). The components
 * that keep their rotation (axes x_c, orthonormal) turn with one frequency phi_c of the set each, instead of
 * those of their features; all others do not turn at all. So the logit is wrong by the form
 *     diag(exp(j theta_a t) - 1) - sum_c x_c x_c^T (exp(j phi_c t) - 1)
 * between q and k. Wide sets choose what they keep among more, but treat different frequencies as equal,
 * which costs little where all are low. The best division has the least mean square of the form, over
 * queries, keys and distances. The error of a set does not depend on the other sets, so dynamic programming
 * finds it. */
#include "model/convert/pieces.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Distances are weighed by 1/(1+t): near ones are met most, and far ones count although calibration has none.
 */
enum { FARTHEST = 8192 };

double *rope_rotation_gram(const dims *d)
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
    blas_gemm_f64(true, false, half, half, 2 * FARTHEST, 1, turned, half, turned, half, 0, gram, half);
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
    const double *key_gram, *query_gram; /* (G*D,G*D) */
    const double *rotation;              /* rope_rotation_gram */
} logits;

/* Mean square of the form, with M the rotation's Gram matrix:
 *     sum_ab Q_ab K_ab M_ab - 2 sum_ca (Q x_c)_a (K x_c)_a M_a,phi(c) + sum_ce (x_c Q x_e) (x_c K x_e)
 * M_phi(c),phi(e). x (f,kept): the axes as columns. */
static double form_square(const logits *l, rope_set set, const double *q, const double *k, const double *x)
{
    const int64_t half = l->d->D / 2, f = l->d->G * set.count, kept = rope_kept(l->d, l->rope, set),
                  step = l->d->D / l->rope;
    double *qx = matrix_new(f, kept), *kx = matrix_new(f, kept), *xqx = matrix_new(kept, kept),
           *xkx = matrix_new(kept, kept), sum = 0;
    blas_gemm_f64(false, false, f, kept, f, 1, q, f, x, kept, 0, qx, kept);
    blas_gemm_f64(false, false, f, kept, f, 1, k, f, x, kept, 0, kx, kept);
    blas_gemm_f64(true, false, kept, kept, f, 1, x, kept, qx, kept, 0, xqx, kept);
    blas_gemm_f64(true, false, kept, kept, f, 1, x, kept, kx, kept, 0, xkx, kept);
    for (int64_t a = 0; a < f; a++) {
        const double *m = l->rotation + (set.from + a % set.count) * half + set.from;
        for (int64_t b = 0; b < f; b++) sum += q[a * f + b] * k[a * f + b] * m[b % set.count];
        for (int64_t c = 0; c < kept; c++) sum -= 2 * qx[a * kept + c] * kx[a * kept + c] * m[c * step];
    }
    for (int64_t c = 0; c < kept; c++)
        for (int64_t e = 0; e < kept; e++)
            sum += xqx[c * kept + e] * xkx[c * kept + e] *
                   l->rotation[(set.from + c * step) * half + set.from + e * step];
    double *const all[] = {qx, kx, xqx, xkx};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return sum;
}

/* What the logits lose when these frequencies are one set. */
static double set_error(const logits *l, rope_set set)
{
    const int64_t f = l->d->G * set.count, kept = rope_kept(l->d, l->rope, set);
    double *q = matrix_new(f, f), *k = matrix_new(f, f), *axes = matrix_new(f, f), *values = matrix_new(1, f);
    rope_set_gram(q, l->d, set, l->query_gram);
    rope_set_gram(k, l->d, set, l->key_gram);
    memcpy(axes, k, sizeof *k * (size_t)(f * f));
    blas_eigen_symmetric(f, axes, values); /* as partial_rope.c chooses them */
    double *x = matrix_transposed(axes, kept, f);
    const double error = form_square(l, set, q, k, x);
    double *const all[] = {q, k, axes, values, x};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return error;
}

/* Sets with more features than this are not tried: their axes cost the cube of it. */
enum { MOST_FEATURES = 512 };

static bool worth_trying(const dims *d, int64_t step, int64_t count)
{
    return count == step || d->G * count <= MOST_FEATURES;
}

double rope_divide_flops(const dims *d, int64_t rope)
{
    const int64_t step = d->D / rope;
    double flops = 0;
    for (int64_t end = step; end <= d->D / 2; end += step)
        for (int64_t count = step; count <= end && worth_trying(d, step, count); count *= 2) {
            const double f = (double)(d->G * count);
            flops += 20 * f * f * f; /* eigenvectors */
        }
    return flops;
}

/* The best set that ends at each place (index/step), by dynamic programming: the least error of all
 * frequencies below an end. */
static rope_set *best_ends(const logits *l)
{
    const int64_t half = l->d->D / 2, step = l->d->D / l->rope;
    double *least = matrix_new(1, half / step + 1);
    rope_set *best = memory_new(half / step + 1, sizeof *best, "%lld frequencies", (long long)half);
    for (int64_t end = step; end <= half; end += step) {
        least[end / step] = INFINITY;
        for (int64_t count = step; count <= end && worth_trying(l->d, step, count); count *= 2) {
            const rope_set set = {end - count, count};
            const double error = least[set.from / step] + set_error(l, set);
            if (error < least[end / step]) least[end / step] = error, best[end / step] = set;
        }
    }
    free(least);
    return best;
}

rope_division rope_divide(const dims *d, int64_t rope, const double *rotation, const double *key_gram,
                          const double *queries)
{
    const int64_t half = d->D / 2, step = d->D / rope;
    double *query_gram = group_queries(d, queries);
    const logits l = {
        .d = d, .rope = rope, .key_gram = key_gram, .query_gram = query_gram, .rotation = rotation};
    rope_set *best = best_ends(&l);
    rope_division division = rope_uniform(d, step); /* as many as there can be */
    int64_t sets = 0;
    for (int64_t end = half; end > 0; end = best[end / step].from) sets++;
    division.sets = sets;
    for (int64_t end = half; end > 0; end = best[end / step].from) division.set[--sets] = best[end / step];
    free(best);
    free(query_gram);
    return division;
}
