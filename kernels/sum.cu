/* Sums in double, each in an order that depends on the number of its elements alone. 4 bytes per element. A
 * thread has EACH elements on the way, which a warp reads as whole lines whatever the alignment. The
 * additions in double are a fraction of the time of the memory, also where a multiprocessor does two at a
 * time (GeForce, L40S). sum: blocks sum pieces, then one block adds up their sums. At most MAX_BLOCKS blocks,
 * about as many as a GPU holds at a time, so that the second step is short. squared_norms: a block sums a
 * whole part. There are hundreds of parts where speed matters. */
#include "kernels/cuda/kernel.h"

enum { THREADS = 256, EACH = 16, PIECE = THREADS * EACH, MAX_BLOCKS = 1024 };

/* Adds pieces first, first + step, ... of n elements to a thread's own sum. */
template <bool SQUARES>
static __device__ inline double pieces_of(const float *inp, int64_t n, int64_t first, int64_t step)
{
    double sum = 0;
    for (int64_t from = first * PIECE; from < n; from += step * PIECE) {
        float x[EACH];
        for (int j = 0; j < EACH; j++) {
            const int64_t i = from + j * THREADS + threadIdx.x;
            x[j] = i < n ? inp[i] : 0;
        }
        for (int j = 0; j < EACH; j++) sum += SQUARES ? (double)x[j] * (double)x[j] : (double)x[j];
    }
    return sum;
}

static __global__ void __launch_bounds__(THREADS) sum_pieces(double *partial, const float *inp, int64_t n)
{
    const double sum = block_sum<THREADS>(pieces_of<false>(inp, n, blockIdx.x, gridDim.x));
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(THREADS) add_partials(double *result, const double *partial, int num)
{
    double sum = 0;
    for (int i = threadIdx.x; i < num; i += THREADS) sum += partial[i];
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) *result += sum;
}

static __global__ void __launch_bounds__(THREADS) square_parts(double *out, const float *inp, int64_t n)
{
    const double sum = block_sum<THREADS>(pieces_of<true>(inp + blockIdx.x * n, n, 0, 1));
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

void CUDA(sum)(tensor *result, const tensor *inp, stream *s)
{
    REQUIRE_SHAPE(result, F64, 1);
    tensor_require_shape(__func__, inp, F32, inp->rank, inp->dim);
    REQUIRE_CONTIGUOUS(inp);
    const int64_t n = tensor_numel(inp), pieces = blocks_for(n, PIECE);
    const int num = (int)(pieces < MAX_BLOCKS ? pieces : (int64_t)MAX_BLOCKS);
    double *partial = workspace<double>(s, num);
    LAUNCH(sum_pieces, num, THREADS, 0, s, partial, data<float>(inp), n);
    LAUNCH(add_partials, num > 0, THREADS, 0, s, data<double>(result), partial, num);
}

void CUDA(squared_norms)(tensor *out, const tensor *inp, stream *s)
{
    const int64_t parts = out->dim[0], numel = tensor_numel(inp);
    REQUIRE_SHAPE(out, F64, parts);
    REQUIRE_CONTIGUOUS(out);
    tensor_require_shape(__func__, inp, F32, inp->rank, inp->dim);
    REQUIRE_CONTIGUOUS(inp);
    REQUIRE(numel % parts == 0, "%s has %lld elements, no multiple of %lld", inp->name, (long long)numel,
            (long long)parts);
    LAUNCH(square_parts, parts, THREADS, 0, s, data<double>(out), data<float>(inp), numel / parts);
}
