/* The vocabulary head and the loss, a chunk of rows at a time: logits of the chunk in fp32 by one product,
 * softmax and gradient in their place, two more products for the gradients. Only the chunk's logits exist.
 *
 * The gradient of a row is written as `act` over the front of its logits, so a product reads it with a row
 * stride of sizeof(float) / sizeof(act) rows. That is safe in bf16, although element i of the gradient lies
 * where logit i/2 was: a block takes its row in pieces from the front, reads a piece whole, waits for all its
 * threads, then writes it. What is written for elements [from,to) lies where logits [from/2,to/2) were, and
 * all logits before `to` have been read. */
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/gemm.h"

/* A thread takes PIECE logits at a time, in vectors of 8 (16 bytes of bf16, twice that of fp32) where rows
 * allow. */
enum { THREADS = 512, WIDE = 8, PIECE = 16 };

namespace
{
/* The piece of a row that starts at `base`: PIECE / W times W neighbouring logits per thread. */
template <int W> struct piece {
    static constexpr int U = PIECE / W;
    float x[U][W];

    static __device__ int64_t length() { return (int64_t)THREADS * U * W; }
    static __device__ int64_t at(int64_t base, int u)
    {
        return base + ((int64_t)u * THREADS + threadIdx.x) * W;
    }

    /* Past the row's end: minus infinity, which neither a maximum nor a sum of exponentials notices. */
    __device__ void read(const float *row, int64_t base, int64_t V)
    {
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (at(base, u) < V) {
                load(x[u], row + at(base, u));
            } else {
#pragma unroll
                for (int i = 0; i < W; i++) x[u][i] = -INFINITY;
            }
        }
    }
};

} // namespace

/* A block for each row of V logits: its loss; with `gradient` set, softmax - onehot(target) over the logits.
 * Two passes: maximum and sum of exponentials at once, then the gradient. */
template <int W>
static __global__ void __launch_bounds__(THREADS)
    rows_loss(float *logits, float *loss, const int32_t *targets, int64_t V, bool gradient)
{
    float *row = logits + blockIdx.x * V;
    act *out = (act *)row;
    const int32_t target = targets[blockIdx.x];
    constexpr int U = piece<W>::U;
    piece<W> p;

    if (target < 0) { /* not counted; the whole block agrees */
        if (threadIdx.x == 0) loss[blockIdx.x] = 0;
        const float zeros[W] = {};
        if (gradient)
            for (int64_t i = threadIdx.x * W; i < V; i += THREADS * W) store(out + i, zeros);
        return;
    }
    /* A target that is none costs NaN, which stops the training; a row's own memory is all that is read. */
    const float logit = target < V ? row[target] : NAN;

    float highest = -INFINITY, sum = 0;
    for (int64_t base = 0; p.at(base, 0) < V; base += p.length()) {
        p.read(row, base, V);
        float high = highest;
#pragma unroll
        for (int u = 0; u < U; u++)
#pragma unroll
            for (int i = 0; i < W; i++) high = fmaxf(high, p.x[u][i]);
        sum *= expf(highest - high); /* 0 at first, when `highest` is minus infinity */
        highest = high;
#pragma unroll
        for (int u = 0; u < U; u++)
#pragma unroll
            for (int i = 0; i < W; i++) sum += expf(p.x[u][i] - high);
    }
    const float all_highest = block_max<THREADS>(highest);
    sum = block_sum<THREADS>(highest == -INFINITY ? sum : sum * expf(highest - all_highest));
    if (threadIdx.x == 0) loss[blockIdx.x] = logf(sum) - (logit - all_highest);
    if (!gradient) return;

    const float inverse = 1 / sum;
    for (int64_t base = 0; base < V; base += p.length()) {
        p.read(row, base, V);
#pragma unroll
        for (int u = 0; u < U; u++)
#pragma unroll
            for (int i = 0; i < W; i++)
                p.x[u][i] =
                    expf(p.x[u][i] - all_highest) * inverse - (p.at(base, u) + i == target ? 1.0f : 0.0f);
        __syncthreads(); /* the piece has been read: see above */
#pragma unroll
        for (int u = 0; u < U; u++)
            if (p.at(base, u) < V) store(out + p.at(base, u), p.x[u]);
    }
}

static void require_matrix(const char *function, const tensor *t, dtype type, int64_t rows, int64_t columns)
{
    const int64_t dim[] = {rows, columns};
    tensor_require_shape(function, t, type, 2, dim);
    REQUIRE_CONTIGUOUS(t);
}

static void head_loss(const char *function, tensor *dhidden, tensor *dweight, tensor *loss,
                      const tensor *hidden, const tensor *weight, const tensor *targets, tensor *scratch,
                      stream *s)
{
    const int64_t N = hidden->dim[0], C = hidden->dim[1], V = weight->dim[0], chunk = scratch->dim[0];
    const bool gradient = dhidden != NULL;
    require_matrix(function, hidden, ACT_TYPE, N, C);
    require_matrix(function, weight, ACT_TYPE, V, C);
    tensor_require_shape(function, targets, I32, 1, &N);
    tensor_require_shape(function, loss, F32, 1, &N);
    require_matrix(function, scratch, F32, chunk, V);
    REQUIRE(chunk >= 1, "%s: no room for a row", function);
    REQUIRE_CONTIGUOUS(targets);
    REQUIRE_CONTIGUOUS(loss);
    if (gradient) {
        require_matrix(function, dhidden, ACT_TYPE, N, C);
        require_matrix(function, dweight, F32, V, C);
    }

    float *logits = data<float>(scratch);
    const matrix w = {weight->data, ACT_TYPE, C, 0}, scores = {logits, F32, V, 0},
                 dscores = {logits, ACT_TYPE, V * (int64_t)(sizeof(float) / sizeof(act)), 0};
    for (int64_t from = 0; from < N; from += chunk) {
        const int64_t rows = N - from < chunk ? N - from : chunk;
        const matrix inp = {data<act>(hidden) + from * C, ACT_TYPE, C, 0};
        cuda_gemm(s, false, true, rows, V, C, 1, inp, w, 0, scores);
        float *losses = data<float>(loss) + from;
        const int32_t *target = data<const int32_t>(targets) + from;
        if (V % WIDE == 0 && aligned(logits))
            LAUNCH(rows_loss<WIDE>, rows, THREADS, 0, s, logits, losses, target, V, gradient);
        else
            LAUNCH(rows_loss<1>, rows, THREADS, 0, s, logits, losses, target, V, gradient);
        if (!gradient) continue;
        const matrix dinp = {data<act>(dhidden) + from * C, ACT_TYPE, C, 0}, dw = {dweight->data, F32, C, 0};
        cuda_gemm(s, false, false, rows, C, V, 1, dscores, w, 0, dinp);
        cuda_gemm(s, true, false, V, C, rows, 1, dscores, inp, 1, dw);
    }
}

void CUDA(head_loss_forward)(tensor *loss, const tensor *hidden, const tensor *weight, const tensor *targets,
                             tensor *scratch, stream *s)
{
    head_loss(__func__, NULL, NULL, loss, hidden, weight, targets, scratch, s);
}

void CUDA(head_loss_backward)(tensor *dhidden, tensor *dweight, tensor *loss, const tensor *hidden,
                              const tensor *weight, const tensor *targets, tensor *scratch, stream *s)
{
    head_loss(__func__, dhidden, dweight, loss, hidden, weight, targets, scratch, s);
}
