/* The vocabulary head and what is asked of its softmax, a chunk of rows at a time: logits of the chunk in
 * fp32 by one product, then a block for each row. It reads its logits twice, the second time mostly out of
 * the caches: for the likeliest token, and for the sum of exponentials, whose terms are floats and whose sum
 * is double. */
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/gemm.h"

enum { THREADS = 512 };

typedef unsigned long long ranked;
struct combine_highest {
    __device__ ranked operator()(ranked x, ranked y) const { return x > y ? x : y; }
};

/* A logit and its token as a number: that of a higher logit is higher, of equal ones that of the lower token.
 * Positive floats are ordered as their bits are, negative ones the other way round. */
static __device__ inline ranked rank_of(float logit, int32_t token)
{
    const float x = logit + 0.0f; /* -0 and 0 are equal */
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (ranked)bits << 32 | (0xffffffffu - (unsigned)token);
}

static __global__ void __launch_bounds__(THREADS)
    rows_scores(double *scores, const float *logits, const int32_t *targets, int V)
{
    const float *row = logits + (int64_t)blockIdx.x * V;
    ranked high = 0;
    for (int v = threadIdx.x; v < V; v += THREADS) high = combine_highest()(high, rank_of(row[v], v));
    high = block_reduce<THREADS, combine_highest>(high);
    const int32_t best = (int32_t)(0xffffffffu - (unsigned)high);
    const float highest = row[best];
    double sum = 0;
    for (int v = threadIdx.x; v < V; v += THREADS) sum += expf(row[v] - highest);
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x > 0) return;
    const int32_t target = targets[blockIdx.x];
    const double whole = log(sum);
    double *out = scores + (int64_t)blockIdx.x * 3;
    out[0] = target < 0 ? 0 : target < V ? (double)(row[target] - highest) - whole : NAN;
    out[1] = best;
    out[2] = 0 - whole; /* the first one's bits where the target is the likeliest */
}

static void require_matrix(const char *function, const tensor *t, dtype type, int64_t rows, int64_t columns)
{
    const int64_t dim[] = {rows, columns};
    tensor_require_shape(function, t, type, 2, dim);
    REQUIRE_CONTIGUOUS(t);
}

void CUDA(head_scores)(tensor *scores, const tensor *hidden, const tensor *weight, const tensor *targets,
                       tensor *scratch, stream *s)
{
    const int64_t N = hidden->dim[0], C = hidden->dim[1], V = weight->dim[0], chunk = scratch->dim[0];
    require_matrix(__func__, scores, F64, N, 3);
    tensor_require_shape(__func__, hidden, ACT_TYPE, 2, hidden->dim);
    require_matrix(__func__, weight, ACT_TYPE, V, C);
    require_matrix(__func__, scratch, F32, chunk, V);
    tensor_require_shape(__func__, targets, I32, 1, &N);
    REQUIRE_CONTIGUOUS(targets);
    REQUIRE(chunk >= 1, "%s: no room for a row", __func__);
    const int64_t stride = N > 1 ? hidden->stride[0] : C;
    float *logits = data<float>(scratch);
    const matrix w = {weight->data, ACT_TYPE, C, 0}, to = {logits, F32, V, 0};
    for (int64_t from = 0; from < N; from += chunk) {
        const int64_t rows = smaller(chunk, N - from);
        const matrix inp = {data<act>(hidden) + from * stride, ACT_TYPE, stride, 0};
        cuda_gemm(s, false, true, rows, V, C, 1, inp, w, 0, to);
        LAUNCH(rows_scores, rows, THREADS, 0, s, data<double>(scores) + from * 3, logits,
               data<const int32_t>(targets) + from, (int)V);
    }
}
