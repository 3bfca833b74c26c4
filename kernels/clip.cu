/* The factor of a step's gradients, from sums that are in device memory: three numbers, one thread, so that
 * no step waits for the host. */
#include "kernels/cuda/kernel.h"

static __global__ void factor_of_step(double *factor, const double *loss, const double *squares, double mean,
                                      double limit)
{
    const double norm = sqrt(*squares) * mean;
    const double clip = limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1;
    *factor = isfinite(*loss) && isfinite(norm) ? mean * clip : (double)NAN;
}

void CUDA(clip_factor)(tensor *factor, const tensor *loss, const tensor *squares, double mean, double limit,
                       stream *s)
{
    REQUIRE_SHAPE(factor, F64, 1);
    REQUIRE_SHAPE(loss, F64, 1);
    REQUIRE_SHAPE(squares, F64, 1);
    LAUNCH(factor_of_step, 1, 1, 0, s, data<double>(factor), data<double>(loss), data<double>(squares), mean,
           limit);
}
