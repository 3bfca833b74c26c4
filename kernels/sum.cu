/* Sums of all elements in double: blocks sum pieces, then one block adds up their sums, both in an order that
 * depends on the number of elements alone. 4 bytes per element. At most MAX_BLOCKS blocks, about as many as a
 * GPU holds at a time, so that the second step is short; a thread has EACH elements on the way, which a warp
 * reads as whole lines whatever the alignment. The additions in double are a fraction of the time of the
 * memory, also where a multiprocessor does two at a time (GeForce, L40S). */
#include "kernels/cuda/kernel.h"

enum { THREADS = 256, EACH = 16, PIECE = THREADS * EACH, MAX_BLOCKS = 1024 };

template <bool SQUARES>
static __global__ void __launch_bounds__(THREADS) sum_pieces(double *partial, const float *inp, int64_t n)
{
    double sum = 0;
    for (int64_t first = (int64_t)blockIdx.x * PIECE; first < n; first += (int64_t)gridDim.x * PIECE) {
        float x[EACH];
        for (int j = 0; j < EACH; j++) {
            const int64_t i = first + j * THREADS + threadIdx.x;
            x[j] = i < n ? inp[i] : 0;
        }
        for (int j = 0; j < EACH; j++) sum += SQUARES ? (double)x[j] * (double)x[j] : (double)x[j];
    }
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(THREADS) add_partials(double *result, const double *partial, int num)
{
    double sum = 0;
    for (int i = threadIdx.x; i < num; i += THREADS) sum += partial[i];
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) *result += sum;
}

template <bool SQUARES> static void total(const char *function, tensor *result, const tensor *inp, stream *s)
{
    const int64_t one = 1;
    tensor_require_shape(function, result, F64, 1, &one);
    tensor_require_shape(function, inp, F32, inp->rank, inp->dim);
    REQUIRE_CONTIGUOUS(inp);
    const int64_t n = tensor_numel(inp), pieces = blocks_for(n, PIECE);
    const int num = (int)(pieces < MAX_BLOCKS ? pieces : (int64_t)MAX_BLOCKS);
    double *partial = workspace<double>(s, num);
    LAUNCH(sum_pieces<SQUARES>, num, THREADS, 0, s, partial, data<float>(inp), n);
    LAUNCH(add_partials, num > 0, THREADS, 0, s, data<double>(result), partial, num);
}

void CUDA(sum)(tensor *result, const tensor *inp, stream *s) { total<false>(__func__, result, inp, s); }

void CUDA(squared_norm)(tensor *result, const tensor *inp, stream *s)
{
    total<true>(__func__, result, inp, s);
}
