/* The factor of the gradients, from sums that never leave the device. */
#include "kernels/cpu/cpu.h"

void CPU(clip_factor)(tensor *factor, const tensor *loss, const tensor *squares, double mean, double limit,
                      stream *s)
{
    (void)s;
    REQUIRE_SHAPE(factor, F64, 1);
    REQUIRE_SHAPE(loss, F64, 1);
    REQUIRE_SHAPE(squares, F64, 1);
    const double norm = sqrt(*(const double *)squares->data) * mean;
    const bool finite = isfinite(*(const double *)loss->data) && isfinite(norm);
    const double shrink = limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1;
    *(double *)factor->data = finite ? mean * shrink : (double)NAN;
}
