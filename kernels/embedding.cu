/* Rows of a table, and their gradient.
 * Forward: a block per row, 2 sizeof(act) bytes per element (4 in bf16).
 * Backward: a warp per row of dout and 32 vectors of its columns. The warp of the first row that has a token
 * adds all rows of that token, in order; those of the other rows leave. sizeof(act) bytes per element of
 * dout, 8 per element of the rows of dweight that change; besides, every warp that stays reads all tokens,
 * which lie in the caches. Nothing is sorted and no two warps write the same number. A kernel cannot stop the
 * job at a token outside of the table: its row becomes NaN and is left out of the gradient. */
#include "kernels/cuda/kernel.h"

enum {
    THREADS = 128,
    AT_ONCE = 4 /* tokens that a lane reads before any is looked at */
};

static __device__ bool known(int32_t token, int64_t num_tokens) { return token >= 0 && token < num_tokens; }

template <int V>
static __global__ void __launch_bounds__(THREADS)
    take_rows(act *out, const int32_t *tokens, const act *weight, int64_t num_tokens, int64_t C)
{
    const int64_t n = blockIdx.x;
    const int32_t token = tokens[n];
    for (int64_t c = threadIdx.x * V; c < C; c += THREADS * V) {
        float x[V];
        for (int j = 0; j < V; j++) x[j] = NAN;
        if (known(token, num_tokens)) load(x, weight + token * C + c);
        store(out + n * C + c, x);
    }
}

/* Whether one of the first n tokens is `token`: the same answer in a whole warp. */
static __device__ bool comes_before(const int32_t *tokens, int64_t n, int32_t token)
{
    for (int64_t first = threadIdx.x % WARP; first - threadIdx.x % WARP < n; first += WARP * AT_ONCE) {
        bool same = false;
        for (int j = 0; j < AT_ONCE; j++) same |= first + j * WARP < n && tokens[first + j * WARP] == token;
        if (__any_sync(~0u, same)) return true;
    }
    return false;
}

template <int V>
static __global__ void __launch_bounds__(THREADS)
    add_rows(float *dweight, const act *dout, const int32_t *tokens, int64_t N, int64_t num_tokens, int64_t C,
             unsigned pieces)
{
    const int64_t n = blockIdx.x / pieces, c = ((int64_t)(blockIdx.x % pieces) * THREADS + threadIdx.x) * V;
    const int lane = threadIdx.x % WARP;
    const int32_t token = tokens[n];
    /* Whole warps leave; in the last of a row, lanes beyond C stay to look for tokens. */
    if (c - lane * V >= C || !known(token, num_tokens) || comes_before(tokens, n, token)) return;
    const bool mine = c < C;
    float sum[V];
    if (mine) load(sum, dweight + token * C + c);
    for (int64_t first = n; first < N; first += WARP * AT_ONCE) {
        int32_t ahead[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) {
            const int64_t i = first + j * WARP + lane;
            ahead[j] = i < N ? tokens[i] : -1;
        }
        for (int j = 0; j < AT_ONCE; j++)
            for (unsigned same = __ballot_sync(~0u, ahead[j] == token); same; same &= same - 1) {
                const int64_t row = first + j * WARP + __ffs((int)same) - 1;
                float d[V];
                if (!mine) continue;
                load(d, dout + row * C + c);
                for (int i = 0; i < V; i++) sum[i] += d[i];
            }
    }
    if (mine) store(dweight + token * C + c, sum);
}

void CUDA(embedding_forward)(tensor *out, const tensor *tokens, const tensor *weight, stream *s)
{
    const int64_t N = out->dim[0], C = out->dim[1], num_tokens = weight->dim[0];
    REQUIRE_SHAPE(out, ACT_TYPE, N, C);
    REQUIRE_SHAPE(tokens, I32, N);
    REQUIRE_SHAPE(weight, ACT_TYPE, num_tokens, C);
    REQUIRE_CONTIGUOUS(out);
    REQUIRE_CONTIGUOUS(weight);
    act *o = data<act>(out);
    const act *w = data<act>(weight);
    const bool vectors = C % VEC == 0 && aligned(o, w);
    LAUNCH((vectors ? take_rows<VEC> : take_rows<1>), N, THREADS, 0, s, o, data<int32_t>(tokens), w,
           num_tokens, C);
}

void CUDA(embedding_backward)(tensor *dweight, const tensor *dout, const tensor *tokens, stream *s)
{
    const int64_t N = dout->dim[0], C = dout->dim[1], num_tokens = dweight->dim[0];
    REQUIRE_SHAPE(dweight, F32, num_tokens, C);
    REQUIRE_SHAPE(dout, ACT_TYPE, N, C);
    REQUIRE_SHAPE(tokens, I32, N);
    REQUIRE_CONTIGUOUS(dweight);
    REQUIRE_CONTIGUOUS(dout);
    float *dw = data<float>(dweight);
    const act *d = data<act>(dout);
    const bool vectors = C % VEC == 0 && aligned(dw, d);
    const int64_t pieces = blocks_for(C, THREADS * (vectors ? VEC : 1));
    LAUNCH((vectors ? add_rows<VEC> : add_rows<1>), N * pieces, THREADS, 0, s, dw, d, data<int32_t>(tokens),
           N, num_tokens, C, (unsigned)pieces);
}
