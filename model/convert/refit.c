/* Ridge regression of o_proj. The converted attention's heads put out x (H*Dv numbers of a token); o_proj
 * makes W x of it, and y is what is missing to the target. The correction of W is
 *     delta = argmin |Y - X delta^T|^2 + s mean_diag(X^T X) |delta|^2
 * over all tokens, the rows of X and Y. It needs only the sums X^T X and X^T Y, which are added up chunk by
 * chunk and rank by rank:
 *     (X^T X + s mean_diag(X^T X)) delta^T = X^T Y
 * is solved by Cholesky. The error that is left follows from the same sums and |Y|^2, without another look
 * at the text. */
#include "model/convert/refit.h"
#include "model/convert/pieces.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* s. Parts of the text held out of the fit ask for twenty times more and the loss is then higher: what this
 * error is about is not all that the rest of the model is about (docs/CONVERSION.md). */
#define RIDGE 0.05

void refit_init(refit *r, int64_t width, int64_t C)
{
    *r = (refit){.width = width, .C = C, .gram = matrix_new(width, width), .cross = matrix_new(width, C)};
}

void refit_free(refit *r)
{
    free(r->gram);
    free(r->cross);
}

void refit_clear(refit *r)
{
    memset(r->gram, 0, sizeof(double) * (size_t)(r->width * r->width));
    memset(r->cross, 0, sizeof(double) * (size_t)(r->width * r->C));
    r->square = 0;
}

void refit_add(refit *r, const double *x, const double *y, int64_t tokens)
{
    const int64_t w = r->width, C = r->C;
    blas_gemm_f64(true, false, w, w, tokens, 1, x, w, x, w, 1, r->gram, w);
    blas_gemm_f64(true, false, w, C, tokens, 1, x, w, y, C, 1, r->cross, C);
    for (int64_t i = 0; i < tokens * C; i++) r->square += y[i] * y[i];
}

void refit_sum(refit *r, const comm *c)
{
    comm_wait(c, comm_sum_f64(c, r->gram, r->width * r->width));
    comm_wait(c, comm_sum_f64(c, r->cross, r->width * r->C));
    comm_wait(c, comm_sum_f64(c, &r->square, 1));
}

refit_result refit_solve(const refit *r)
{
    const int64_t w = r->width, C = r->C;
    double *gram = matrix_new(w, w), *delta = matrix_new(w, C), mean = 0;
    memcpy(gram, r->gram, sizeof *gram * (size_t)(w * w));
    memcpy(delta, r->cross, sizeof *delta * (size_t)(w * C));
    for (int64_t i = 0; i < w; i++) mean += gram[i * w + i] / (double)w;
    for (int64_t i = 0; i < w; i++) gram[i * w + i] += RIDGE * mean;
    if (!(mean > 0) ||
        !blas_solve_positive(w, C, gram, delta)) /* heads that are all zero have nothing to give */
        memset(delta, 0, sizeof *delta * (size_t)(w * C));

    double *image = matrix_new(w, C);
    blas_gemm_f64(false, false, w, C, w, 1, r->gram, w, delta, C, 0, image, C);
    refit_result out = {.delta = matrix_transposed(delta, w, C), .after = r->square};
    for (int64_t i = 0; i < w * C; i++) out.after += delta[i] * (image[i] - 2 * r->cross[i]);
    if (out.after < 0) out.after = 0; /* by rounding; what is not a number stays so */
    free(gram);
    free(delta);
    free(image);
    return out;
}
