/* Low rank by principal components, as TransMLA does it. Let x = [rest of the keys; values] of a token, n
 * numbers. The R eigenvectors A (n,R) of sum x x^T with the largest eigenvalues span the subspace that keeps
 * most of |x|^2 over the text. The latent is A^T x, and A gives x back as well as R numbers can. Keys are
 * usually far larger than values and would take all of the axes, so they are divided by a ratio before, and
 * multiplied by it afterwards (convert.balance). Gram matrices are not centred, as in TransMLA. TransMLA
 * adds 1 % of the mean diagonal to each; that moves no eigenvector, and is left out here. */
#include "model/convert/pieces.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

double *lowrank_principal_axes(int64_t n, int64_t rank, double *gram)
{
    double *values = matrix_new(1, n), *axes = matrix_new(rank, n);
    blas_eigen_symmetric(n, gram, values);
    memcpy(axes, gram, sizeof(double) * (size_t)(rank * n));
    free(values);
    return axes;
}

/* Mean over columns [from,to) of their L2 norm over the calibration tokens. */
static double mean_norm(const double *gram, int64_t n, int64_t from, int64_t to)
{
    double sum = 0;
    for (int64_t i = from; i < to; i++) sum += sqrt(fmax(gram[i * n + i], 0));
    return sum / (double)(to - from);
}

/* How much larger the keys are than the values. Unbalanced, the principal components would belong to the
 * keys, which are usually far larger. */
static double balance_ratio(const dims *d, int64_t rope, convert_balance balance, const double *joint)
{
    const int64_t values = d->G * d->D, keys = values - rope, n = keys + values;
    if (balance == BALANCE_NONE) return 1;
    const double ratio = mean_norm(joint, n, 0, keys) /
                         mean_norm(joint, n, balance == BALANCE_TRANSMLA ? keys + rope : keys, n);
    return isfinite(ratio) && ratio > 0 ? ratio : 1; /* no keys are left, or a layer is all zero */
}

void lowrank_joint_axes(const dims *d, int64_t rope, int64_t rank, convert_balance balance,
                        const double *joint, double *down, double *up)
{
    const int64_t values = d->G * d->D, keys = values - rope, n = keys + values;
    const double ratio = balance_ratio(d, rope, balance, joint);
    double *gram = matrix_new(n, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            gram[i * n + j] = joint[i * n + j] / ((i < keys ? ratio : 1) * (j < keys ? ratio : 1));
    double *axes = lowrank_principal_axes(n, rank, gram);
    for (int64_t r = 0; r < rank; r++)
        for (int64_t i = 0; i < n; i++) {
            down[r * n + i] = axes[r * n + i] / (i < keys ? ratio : 1);
            up[i * rank + r] = axes[r * n + i] * (i < keys ? ratio : 1);
        }
    free(axes);
    free(gram);
}

void lowrank_query_axes(const dims *d, int64_t rank, const gqa_layer *g, const double *s, double *down,
                        double *up)
{
    const int64_t n = d->H * d->D;
    double *gram = matrix_gram(g->wq, s, n, d->C + 1), *axes = lowrank_principal_axes(n, rank, gram);
    for (int64_t r = 0; r < rank; r++)
        for (int64_t i = 0; i < n; i++) down[r * n + i] = up[i * rank + r] = axes[r * n + i];
    free(axes);
    free(gram);
}
