/* Low rank in the metric of the attention: what counts is not how large a key or a value is, but what an
 * error in it does. An error e of a key changes the logit of a query q by q.e, so on average it costs
 * e^T M e with M the Gram matrix of the queries that meet it. An error of a value passes through o_proj, so
 * there M = W_o^T W_o. Let M = F^T F (Cholesky): the cost is |F e|^2. So principal components are taken of
 * F x, not of x: with A the first R eigenvectors of F (sum x x^T) F^T, the latent is A^T F x, and F^-1 A
 * gives x back. M is damped, or F would not be invertible in directions that no query has. For factored
 * queries the roles change: their metric is the Gram matrix of the keys. */
#include "model/convert/pieces.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the mean diagonal, so that directions that nothing asks for have a metric too. */
#define DAMPING 1e-4

static double trace(const double *a, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i * n + i];
    return sum;
}

/* tr(a b) of symmetric matrices: a (n,n), b the block of a (ld,ld) matrix that begins at (from,from). */
static double trace_of_product(const double *a, int64_t n, const double *b, int64_t ld, int64_t from)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) sum += a[i * n + j] * b[(from + i) * ld + from + j];
    return sum;
}

/* Damps a metric; one that is zero (a dead layer) becomes the identity. */
static void damp(double *metric, int64_t n)
{
    const double mean = n ? trace(metric, n) / (double)n : 0;
    for (int64_t i = 0; i < n; i++) metric[i * n + i] += mean > 0 ? DAMPING * mean : 1;
}

/* Factors u of metric = u^T u into the block of `into` (ld,ld) at (from,from), times `scale`. */
static void factor_into(double *into, int64_t ld, int64_t from, double *metric, int64_t n, double scale)
{
    REQUIRE(blas_factor_positive(n, metric), "a damped metric of %lld dimensions is not positive",
            (long long)n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) into[(from + i) * ld + from + j] = scale * metric[i * n + j];
}

/* sum over query heads of P E[q q^T] P^T / D, P = u_n of the head's group: (keys,keys). */
static double *key_metric(const dims *d, int64_t rope, const double *u, const double *queries)
{
    const int64_t D = d->D, n = d->G * D, keys = n - rope, share = d->H / d->G;
    double *metric = matrix_new(keys, keys), *half = matrix_new(keys, D);
    for (int64_t h = 0; h < d->H && keys; h++) {
        const double *p = u + rope * n + h / share * D;
        blas_gemm_f64(false, false, keys, D, D, 1 / (double)D, p, n, queries + h * D * D, D, 0, half, D);
        blas_gemm_f64(false, true, keys, keys, D, 1, half, D, p, n, 1, metric, keys);
    }
    free(half);
    return metric;
}

/* sum over the heads of a group of W_o,h^T W_o,h: (D,D). wo (C,H*D). */
static double *value_metric(const dims *d, const double *wo, int64_t group)
{
    const int64_t D = d->D, share = d->H / d->G, width = d->H * D;
    double *metric = matrix_new(D, D);
    for (int64_t h = group * share; h < (group + 1) * share; h++)
        blas_gemm_f64(true, false, D, D, d->C, 1, wo + h * D, width, wo + h * D, width, 1, metric, D);
    return metric;
}

/* What a factor does to a Gram matrix: u gram u^T. */
static double *weighed(const double *u, const double *gram, int64_t n) { return matrix_gram(u, gram, n, n); }

void metric_axes(const dims *d, int64_t rope, int64_t rank, const gqa_layer *g, const double *u,
                 const double *queries, const double *joint, double *down, double *up)
{
    const int64_t D = d->D, values = d->G * D, keys = values - rope, n = keys + values;
    double *factor = matrix_new(n, n), *metric = key_metric(d, rope, u, queries);
    const double key_weight = trace_of_product(metric, keys, joint, n, 0);
    if (keys) { /* none when the rotary part takes all of the only group */
        damp(metric, keys);
        factor_into(factor, n, 0, metric, keys, 1);
    }
    free(metric);

    double value_weight = 0;
    double **block = memory_new(d->G, sizeof *block, "the metrics of %lld groups", (long long)d->G);
    for (int64_t group = 0; group < d->G; group++) {
        block[group] = value_metric(d, g->wo, group);
        value_weight += trace_of_product(block[group], D, joint, n, keys + group * D);
    }
    const double balance = key_weight > 0 && value_weight > 0 ? sqrt(key_weight / value_weight) : 1;
    for (int64_t group = 0; group < d->G; group++) {
        damp(block[group], D);
        factor_into(factor, n, keys + group * D, block[group], D, balance);
        free(block[group]);
    }
    free(block);

    double *gram = weighed(factor, joint, n), *axes = lowrank_principal_axes(n, rank, gram);
    blas_gemm_f64(false, false, rank, n, n, 1, axes, n, factor, n, 0, down, n);
    for (int64_t r = 0; r < rank; r++)
        for (int64_t i = 0; i < n; i++) up[i * rank + r] = axes[r * n + i];
    blas_solve_upper(n, rank, factor, up);
    free(gram);
    free(axes);
    free(factor);
}

void metric_query_axes(const dims *d, int64_t rank, const gqa_layer *g, const double *s, double *down,
                       double *up)
{
    const int64_t D = d->D, share = d->H / d->G, n = d->H * D, width = d->C + 1;
    double *factor = matrix_new(n, n), *gram, *without_bias = matrix_new(n, width);
    for (int64_t group = 0; group < d->G; group++) {
        double *keys = matrix_gram(g->wk + group * D * width, s, D, width);
        damp(keys, D);
        REQUIRE(blas_factor_positive(D, keys), "damped keys are not positive");
        for (int64_t h = group * share; h < (group + 1) * share; h++)
            for (int64_t i = 0; i < D; i++)
                memcpy(factor + (h * D + i) * n + h * D, keys + i * D, sizeof *keys * (size_t)D);
        free(keys);
    }
    /* The bias stays whole beside the latent. */
    memcpy(without_bias, g->wq, sizeof *without_bias * (size_t)(n * width));
    for (int64_t i = 0; i < n; i++) without_bias[i * width + d->C] = 0;
    double *queries = matrix_gram(without_bias, s, n, width);
    gram = weighed(factor, queries, n);
    double *axes = lowrank_principal_axes(n, rank, gram);
    blas_gemm_f64(false, false, rank, n, n, 1, axes, n, factor, n, 0, down, n);
    for (int64_t r = 0; r < rank; r++)
        for (int64_t i = 0; i < n; i++) up[i * rank + r] = axes[r * n + i];
    blas_solve_upper(n, rank, factor, up);
    double *const all[] = {factor, gram, without_bias, queries, axes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* 1 minus sum of lost over sum of diagonal elements [from,to) of joint, and `beside` of which nothing is
 * lost. */
static double share_kept(const double *lost, const double *joint, int64_t n, int64_t from, int64_t to,
                         double beside)
{
    double gone = 0, all = beside;
    for (int64_t i = from; i < to; i++) gone += lost[i], all += joint[i * n + i];
    return all > 0 ? 1 - gone / all : 1;
}

energy_shares energy_shares_of(const dims *d, int64_t rope, int64_t rank, int64_t used, const double *joint,
                               const double *down, const double *up, double rope_energy)
{
    const int64_t keys = d->G * d->D - rope, n = keys + d->G * d->D;
    double *cross = matrix_new(used, n), *latent = matrix_new(used, used), *spread = matrix_new(n, used),
           *lost = matrix_new(1, n);
    blas_gemm_f64(false, false, used, n, n, 1, down, n, joint, n, 0, cross, n);
    blas_gemm_f64(false, true, used, used, n, 1, cross, n, down, n, 0, latent, used);
    blas_gemm_f64(false, false, n, used, used, 1, up, rank, latent, used, 0, spread, used);
    /* diagonal of (1 - up down) joint (1 - up down)^T */
    for (int64_t i = 0; i < n; i++) {
        lost[i] = joint[i * n + i];
        for (int64_t r = 0; r < used; r++)
            lost[i] += up[i * rank + r] * (spread[i * used + r] - 2 * cross[r * n + i]);
    }
    const energy_shares kept = {.keys = share_kept(lost, joint, n, 0, keys, rope_energy),
                                .values = share_kept(lost, joint, n, keys, n, 0)};
    double *const all[] = {cross, latent, spread, lost};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return kept;
}
