/* Root-mean-square norm of rows.
 * Forward: a warp per row, so that nothing waits at a barrier; 2 sizeof(act) bytes per element (4 in bf16).
 * The row is read twice, the second time from the caches. Backward: both gradients in one pass over dout and
 * inp, 3 sizeof(act) bytes per element (6 in bf16), 4 when dinp is added to. A block walks a stretch of rows
 * and keeps its sums of dweight in shared memory; at most MAX_BLOCKS blocks, about four per multiprocessor,
 * so that their sums, which a second kernel adds up in order, are few beside what is read. How rows are cut
 * into stretches depends on N and C alone. */
#include "kernels/cuda/partial_sums.h"

enum {
    FORWARD_WARPS = 4, /* rows per block of forward */
    THREADS = 256,
    SHORT_ROW = 1024, /* up to this many columns a warp takes a row, beyond a block does */
    MAX_BLOCKS = 512
};

/* (N,C): where its rows start. */
typedef struct rows {
    act *data;
    int64_t stride;
} rows;

template <int V>
static __global__ void __launch_bounds__(WARP *FORWARD_WARPS)
    norm(rows out, float *rstd, rows inp, const act *weight, int64_t N, int C, float eps)
{
    const int64_t n = (int64_t)blockIdx.x * FORWARD_WARPS + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (n >= N) return; /* a whole warp */
    const act *x = inp.data + n * inp.stride;
    act *y = out.data + n * out.stride;
    float squares = 0;
    for (int c = lane * V; c < C; c += WARP * V) {
        float a[V];
        load(a, x + c);
        for (int j = 0; j < V; j++) squares += a[j] * a[j];
    }
    const float r = 1 / sqrtf(warp_sum(squares) / (float)C + eps);
    for (int c = lane * V; c < C; c += WARP * V) {
        float a[V], w[V];
        load(a, x + c);
        load(w, weight + c);
        for (int j = 0; j < V; j++) a[j] = a[j] * r * w[j];
        store(y + c, a);
    }
    if (lane == 0) rstd[n] = r;
}

/* LANES threads take a row; a block of THREADS has THREADS/LANES teams of them, each with its own (C) sums in
 * shared memory. `partial` is (blocks,C). */
template <int V, int LANES, bool ADD>
static __global__ void __launch_bounds__(THREADS, 2) /* or ptxas spills to make room for more */
    gradients(rows dinp, float *partial, rows dout, rows inp, const act *weight, const float *rstd, int64_t N,
              int C, int64_t stretch)
{
    const int TEAMS = THREADS / LANES;
    DYN_SHARED(float, sums);
    const int lane = threadIdx.x % LANES, team = threadIdx.x / LANES;
    const int64_t first = (int64_t)blockIdx.x * stretch, end = N - first < stretch ? N : first + stretch;
    float *mine = sums + team * C; /* a thread uses the same columns of it all the time */
    const float zeros[V] = {};
    for (int c = lane * V; c < C; c += LANES * V) store(mine + c, zeros);
    for (int64_t n = first + team; n < end; n += TEAMS) {
        const act *dy = dout.data + n * dout.stride, *x = inp.data + n * inp.stride;
        act *dx = dinp.data + n * dinp.stride;
        float dot = 0;
        for (int c = lane * V; c < C; c += LANES * V) {
            float d[V], w[V], a[V];
            load(d, dy + c);
            load(w, weight + c);
            load(a, x + c);
            for (int j = 0; j < V; j++) dot += d[j] * w[j] * a[j];
        }
        dot = LANES == WARP ? warp_sum(dot) : block_sum<THREADS>(dot);
        const float r = rstd[n], along = r * r * r * dot / (float)C;
        for (int c = lane * V; c < C; c += LANES * V) {
            float d[V], a[V], sum[V], g[V];
            load(d, dy + c);
            load(a, x + c);
            load(sum, mine + c);
            for (int j = 0; j < V; j++) sum[j] += d[j] * (a[j] * r);
            store(mine + c, sum);
            load(g, weight + c);
            for (int j = 0; j < V; j++) g[j] = r * d[j] * g[j] - along * a[j];
            if (ADD) {
                load(d, dx + c);
                for (int j = 0; j < V; j++) g[j] += d[j];
            }
            store(dx + c, g);
        }
    }
    __syncthreads();
    for (int c = threadIdx.x; c < C; c += THREADS) {
        float sum = 0;
        for (int t = 0; t < TEAMS; t++) sum += sums[t * C + c];
        partial[(int64_t)blockIdx.x * C + c] = sum;
    }
}

static rows rmsnorm_rows(const tensor *t) { return {data<act>(t), t->stride[0]}; }

/* Every row starts at a multiple of 16 bytes. */
static bool aligned_rows(rows r) { return aligned(r.data) && r.stride % VEC == 0; }

template <int V, int LANES, bool ADD>
static void backward_in(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                        const tensor *weight, const tensor *rstd, stream *s)
{
    const int64_t N = inp->dim[0], C = inp->dim[1], teams = THREADS / LANES;
    const int64_t least = (N + MAX_BLOCKS - 1) / MAX_BLOCKS, stretch = (least + teams - 1) / teams * teams;
    const int64_t num = N == 0 ? 0 : (N + stretch - 1) / stretch;
    float *partial = workspace<float>(s, num * C);
    LAUNCH((gradients<V, LANES, ADD>), num, THREADS, (size_t)(teams * C) * sizeof(float), s,
           rmsnorm_rows(dinp), partial, rmsnorm_rows(dout), rmsnorm_rows(inp), data<act>(weight),
           data<float>(rstd), N, (int)C, stretch);
    partial_sums_add(data<float>(dweight), partial, num, C, s);
}

template <bool ADD>
static void backward(const char *function, tensor *dinp, tensor *dweight, const tensor *dout,
                     const tensor *inp, const tensor *weight, const tensor *rstd, stream *s)
{
    const int64_t N = inp->dim[0], C = inp->dim[1], shape[] = {N, C};
    tensor_require_shape(function, dinp, ACT_TYPE, 2, shape);
    tensor_require_shape(function, dweight, F32, 1, &C);
    tensor_require_shape(function, dout, ACT_TYPE, 2, shape);
    tensor_require_shape(function, inp, ACT_TYPE, 2, shape);
    tensor_require_shape(function, weight, ACT_TYPE, 1, &C);
    tensor_require_shape(function, rstd, F32, 1, &N);
    const bool vectors = C % VEC == 0 && aligned(data<act>(weight)) && aligned_rows(rmsnorm_rows(dinp)) &&
                         aligned_rows(rmsnorm_rows(dout)) && aligned_rows(rmsnorm_rows(inp));
    auto *run = C <= SHORT_ROW ? (vectors ? backward_in<VEC, WARP, ADD> : backward_in<1, WARP, ADD>)
                               : (vectors ? backward_in<VEC, THREADS, ADD> : backward_in<1, THREADS, ADD>);
    run(dinp, dweight, dout, inp, weight, rstd, s);
}

void CUDA(rmsnorm_forward)(tensor *out, tensor *rstd, const tensor *inp, const tensor *weight, double eps,
                           stream *s)
{
    const int64_t N = inp->dim[0], C = inp->dim[1];
    REQUIRE_SHAPE(out, ACT_TYPE, N, C);
    REQUIRE_SHAPE(rstd, F32, N);
    REQUIRE_SHAPE(inp, ACT_TYPE, N, C);
    REQUIRE_SHAPE(weight, ACT_TYPE, C);
    const bool vectors = C % VEC == 0 && aligned(data<act>(weight)) && aligned_rows(rmsnorm_rows(out)) &&
                         aligned_rows(rmsnorm_rows(inp));
    LAUNCH((vectors ? norm<VEC> : norm<1>), blocks_for(N, FORWARD_WARPS), WARP * FORWARD_WARPS, 0, s,
           rmsnorm_rows(out), data<float>(rstd), rmsnorm_rows(inp), data<act>(weight), N, (int)C, (float)eps);
}

void CUDA(rmsnorm_backward)(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                            const tensor *weight, const tensor *rstd, stream *s)
{
    backward<false>(__func__, dinp, dweight, dout, inp, weight, rstd, s);
}

void CUDA(rmsnorm_backward_add)(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                                const tensor *weight, const tensor *rstd, stream *s)
{
    backward<true>(__func__, dinp, dweight, dout, inp, weight, rstd, s);
}
