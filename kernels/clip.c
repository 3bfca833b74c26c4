/* The factor of the gradients, from sums that never leave the device. */
#include "kernels/cpu/cpu.h"

void CPU(clip_factor)(tensor *factor, tensor *norm, const tensor *losses, const tensor *squares, double mean,
                      double limit, stream *s)
{
    (void)s;
    const int64_t n = losses->dim[0], m = squares->dim[0];
    REQUIRE_SHAPE(factor, F64, 1);
    REQUIRE_SHAPE(norm, F64, 1);
    REQUIRE_SHAPE(losses, F64, n);
    REQUIRE_SHAPE(squares, F64, m);
    REQUIRE_CONTIGUOUS(losses);
    REQUIRE_CONTIGUOUS(squares);
    const double *loss = losses->data, *square = squares->data;
    double sum = 0;
    for (int64_t i = 0; i < m; i++) sum += square[i];
    const double size = sqrt(sum) * mean;
    bool finite = isfinite(size);
    for (int64_t i = 0; i < n; i++) finite = finite && isfinite(loss[i]);
    const double shrink = limit > 0 && size > limit ? limit / (size + 1e-6) : 1;
    *(double *)norm->data = size;
    *(double *)factor->data = finite ? mean * shrink : (double)NAN;
}
