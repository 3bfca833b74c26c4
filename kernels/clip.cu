/* The factor of a step's gradients, from sums that are in device memory, so that no step waits for the host:
 * one block, for there are some hundred thousand numbers at most. */
#include "kernels/cuda/kernel.h"

enum { THREADS = 512 };

static __global__ void __launch_bounds__(THREADS)
    factor_of_step(double *factor, double *norm, const double *loss, int64_t n, const double *square,
                   int64_t m, double mean, double limit)
{
    double sum = 0, wrong = 0; /* of losses, how many are not finite */
    for (int64_t i = threadIdx.x; i < m; i += THREADS) sum += square[i];
    for (int64_t i = threadIdx.x; i < n; i += THREADS) wrong += !isfinite(loss[i]);
    sum = block_sum<THREADS>(sum);
    wrong = block_sum<THREADS>(wrong);
    if (threadIdx.x > 0) return;
    const double size = sqrt(sum) * mean;
    const double clip = limit > 0 && size > limit ? limit / (size + 1e-6) : 1;
    *norm = size;
    *factor = wrong == 0 && isfinite(size) ? mean * clip : (double)NAN;
}

void CUDA(clip_factor)(tensor *factor, tensor *norm, const tensor *losses, const tensor *squares, double mean,
                       double limit, stream *s)
{
    const int64_t n = losses->dim[0], m = squares->dim[0];
    REQUIRE_SHAPE(factor, F64, 1);
    REQUIRE_SHAPE(norm, F64, 1);
    REQUIRE_SHAPE(losses, F64, n);
    REQUIRE_SHAPE(squares, F64, m);
    REQUIRE_CONTIGUOUS(losses);
    REQUIRE_CONTIGUOUS(squares);
    LAUNCH(factor_of_step, 1, THREADS, 0, s, data<double>(factor), data<double>(norm), data<double>(losses),
           n, data<double>(squares), m, mean, limit);
}
