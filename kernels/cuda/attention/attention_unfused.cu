/* Attention the plain way (Vaswani et al. 2017, arXiv:1706.03762, eq. 1): scores by a matrix product, a
 * softmax by rows, a matrix product with the values. It is what the fast implementations are checked against,
 * and runs at every size that fits the workspace.
 *
 * The scores do not exist all at a time. A chunk is at most ROWS query rows (fewer where the workspace is
 * small) of as many key/value heads as fit beside each other, with the keys up to the last of its rows:
 *
 *              keys 0 ........ seen
 *     row q0   x x x x x x . . .         x  visible: from the row's `first` to its position
 *              . . x x x x x . .         .  computed for nothing; softmax_rows makes it 0
 *     row q1-1 . . x x x x x x x
 *
 * Query heads of one group take turns, so that the heads of one call of cuBLAS lie equally far apart. Scores
 * are f32; the weights made of them are rounded to `act` for the next product. Backward computes scores and
 * weights again and gets the gradient of the scores from them (backward_chunk). Gradients of keys and values
 * add up over chunks in f32 and are rounded once. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/heads.h"

enum { THREADS = 256, WARPS = THREADS / WARP, ROWS = 512 };

struct problem {
    int64_t B, T, S, H, G, D, Dv;
    int64_t past; /* S - T: the position of the first query */
    float scale;
    const int32_t *first; /* (B,T) */
    float *lse;           /* (B,H,T) */
    heads q, k, v, out;
};

/* One chunk: rows [q0,q1) of sequence b, of query heads h, h + group, ..., `count` of them, which read the
 * keys [0,seen) of the key/value heads g, g + 1, ... Its scores are (count,rows,seen) with rows of `stride`
 * elements. */
struct chunk {
    int64_t b, h, g, count, q0, q1, seen, stride;
};

/* How much goes into a chunk. */
struct plan {
    int64_t heads, rows;
};

static int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

/* Positions from t on of the heads of a chunk: a batch of (rows,width) matrices, `apart` heads from one to
 * the next. */
static matrix matrix_at(const heads *x, int64_t width, int64_t b, int64_t t, int64_t h, int64_t apart)
{
    /* A tensor of one position may have any stride there, but cuBLAS looks at it. */
    const int64_t stride = x->position > width ? x->position : width;
    return matrix{x->data + b * x->batch + t * x->position + h * x->head, ACT_TYPE, stride, apart * x->head};
}

static matrix queries(const problem *p, const heads *x, int64_t width, const chunk *c)
{
    return matrix_at(x, width, c->b, c->q0, c->h, p->H / p->G);
}
static matrix keys(const heads *x, int64_t width, const chunk *c)
{
    return matrix_at(x, width, c->b, 0, c->g, 1);
}

/* ---- rows of a chunk ----------------------------------------------------------------------------------- */

/* What a warp needs to know of its row: of head blockIdx.y of the chunk. */
struct row_place {
    int64_t t, h, lse, at; /* row, head, index of its log-sum-exp, start of its scores */
    int from, to;          /* the keys that it sees */
};

/* False: there is no such row. */
static __device__ bool place_of(row_place *r, const problem &p, const chunk &c)
{
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (row >= c.q1 - c.q0) return false;
    r->t = c.q0 + row;
    r->h = c.h + blockIdx.y * (p.H / p.G);
    r->lse = (c.b * p.H + r->h) * p.T + r->t;
    r->at = (blockIdx.y * (c.q1 - c.q0) + row) * c.stride;
    r->from = p.first[c.b * p.T + r->t];
    r->to = (int)(p.past + r->t) + 1;
    return true;
}

/* weights = softmax of the visible scores, 0 elsewhere; lse. */
static __global__ void __launch_bounds__(THREADS)
    softmax_rows(act *weights, const float *scores, problem p, chunk c)
{
    row_place r;
    if (!place_of(&r, p, c)) return;
    const int lane = threadIdx.x % WARP;
    const float *row = scores + r.at;
    act *out = weights + r.at;
    float highest = -INFINITY, sum = 0;
    for (int s = r.from + lane; s < r.to; s += WARP) highest = fmaxf(highest, row[s]);
    highest = warp_max(highest);
    for (int s = r.from + lane; s < r.to; s += WARP) sum += expf(row[s] - highest);
    sum = warp_sum(sum);
    for (int s = lane; s < c.seen; s += WARP)
        out[s] = to_act(s >= r.from && s < r.to ? expf(row[s] - highest) / sum : 0.0f);
    if (lane == 0) p.lse[r.lse] = highest + logf(sum);
}

/* weights = exp(scores - lse), dscores = weights * (dweights - sum(dout * out)); both 0 where invisible. */
static __global__ void __launch_bounds__(THREADS)
    backward_rows(act *weights, act *dscores, const float *scores, const float *dweights, heads dout,
                  problem p, chunk c)
{
    row_place r;
    if (!place_of(&r, p, c)) return;
    const int lane = threadIdx.x % WARP;
    const act *a = dout.data + c.b * dout.batch + r.t * dout.position + r.h * dout.head,
              *b = p.out.data + c.b * p.out.batch + r.t * p.out.position + r.h * p.out.head;
    const float lse = p.lse[r.lse];
    float delta = 0;
    for (int e = lane; e < p.Dv; e += WARP) delta += to_float(a[e]) * to_float(b[e]);
    delta = warp_sum(delta);
    for (int s = lane; s < c.seen; s += WARP) {
        const bool visible = s >= r.from && s < r.to;
        const float weight = visible ? expf(scores[r.at + s] - lse) : 0.0f;
        weights[r.at + s] = to_act(weight);
        dscores[r.at + s] = to_act(visible ? weight * (dweights[r.at + s] - delta) : 0.0f);
    }
}

/* Rounds the sums (count,T,width) of `count` heads from g on into their place in `out`. */
static __global__ void __launch_bounds__(THREADS)
    store_sums(heads out, const float *sums, int64_t b, int64_t g, int64_t T, int64_t width, int64_t count)
{
    const int64_t all = count * T * width;
    for (int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x; i < all;
         i += (int64_t)gridDim.x * THREADS) {
        const int64_t e = i % width, t = i / width % T, head = i / width / T;
        out.data[b * out.batch + t * out.position + (g + head) * out.head + e] = to_act(sums[i]);
    }
}

/* ---- chunks -------------------------------------------------------------------------------------------- */

/* Parts of the workspace start at multiples of this. */
enum { ALIGN = 256 };

static int64_t sum_bytes(const problem *p, bool backward)
{
    return backward ? round_up(p->T * p->D * 4, ALIGN) + round_up(p->T * p->Dv * 4, ALIGN) : 0;
}

static int64_t row_stride(int64_t n) { return round_up(n, 8); }

/* Of scores, and of weights in `act`; backward: of both and their gradients. */
static int64_t scores_bytes(int64_t count, int64_t rows, int64_t S, bool backward)
{
    const int64_t elements = count * rows * row_stride(S);
    return (1 + backward) *
           (round_up(elements * 4, ALIGN) + round_up(elements * (int64_t)sizeof(act), ALIGN));
}

/* False when not even one row of one head fits. */
static bool plan_of(plan *n, const problem *p, bool backward, const stream *s)
{
    *n = plan{p->G, smaller(ROWS, p->T)};
    while (n->heads * sum_bytes(p, backward) + scores_bytes(n->heads, n->rows, p->S, backward) >
           s->workspace_bytes) {
        if (n->heads > 1)
            n->heads = (n->heads + 1) / 2;
        else if (n->rows > 1)
            n->rows = (n->rows + 1) / 2;
        else
            return false;
    }
    return true;
}

static void *cut(char **from, int64_t bytes)
{
    void *part = *from;
    *from += round_up(bytes, ALIGN);
    return part;
}

static chunk chunk_of(const problem *p, int64_t b, int64_t h, int64_t g, int64_t count, int64_t q0,
                      int64_t q1)
{
    return chunk{b, h, g, count, q0, q1, p->past + q1, row_stride(p->past + q1)};
}

/* A batch of (rows,seen) scores, or what takes their place. */
static matrix scores_matrix(void *data, dtype type, const chunk *c)
{
    return matrix{data, type, c->stride, (c->q1 - c->q0) * c->stride};
}

/* A warp for each row. */
static dim3 rows_grid(const chunk *c)
{
    return dim3((unsigned)blocks_for(c->q1 - c->q0, WARPS), (unsigned)c->count);
}

static void forward_chunk(const problem *p, const chunk *c, stream *s, char *workspace)
{
    const int64_t rows = c->q1 - c->q0, elements = c->count * rows * c->stride;
    float *scores = (float *)cut(&workspace, elements * 4);
    act *weights = (act *)cut(&workspace, elements * (int64_t)sizeof(act));
    const matrix S = scores_matrix(scores, F32, c), P = scores_matrix(weights, ACT_TYPE, c);
    cuda_gemm_batched(s, c->count, false, true, rows, c->seen, p->D, p->scale, queries(p, &p->q, p->D, c),
                      keys(&p->k, p->D, c), 0, S);
    CUDA_OK(SIMT_LAUNCH(softmax_rows, rows_grid(c), dim3(THREADS), 0, s->cuda, weights, scores, *p, *c));
    cuda_gemm_batched(s, c->count, false, false, rows, p->Dv, c->seen, 1, P, keys(&p->v, p->Dv, c), 0,
                      queries(p, &p->out, p->Dv, c));
}

/* Gradients: dq and dout as they are, dk and dv as sums of the chunk's heads. */
struct gradients {
    heads dq, dout;
    matrix dk, dv;
};

/* With P = exp(scores - lse): dv += P^T dout; dP = dout v^T; dS = P * (dP - delta); dk += scale dS^T q;
 * dq = scale dS k. */
static void backward_chunk(const problem *p, const gradients *d, const chunk *c, stream *s, char *workspace)
{
    const int64_t rows = c->q1 - c->q0, elements = c->count * rows * c->stride;
    float *scores = (float *)cut(&workspace, elements * 4),
          *dweights = (float *)cut(&workspace, elements * 4);
    act *weights = (act *)cut(&workspace, elements * (int64_t)sizeof(act)),
        *dscores = (act *)cut(&workspace, elements * (int64_t)sizeof(act));
    const matrix S = scores_matrix(scores, F32, c), dP = scores_matrix(dweights, F32, c),
                 P = scores_matrix(weights, ACT_TYPE, c), dS = scores_matrix(dscores, ACT_TYPE, c);
    const matrix q = queries(p, &p->q, p->D, c), dout = queries(p, &d->dout, p->Dv, c);
    cuda_gemm_batched(s, c->count, false, true, rows, c->seen, p->D, p->scale, q, keys(&p->k, p->D, c), 0, S);
    cuda_gemm_batched(s, c->count, false, true, rows, c->seen, p->Dv, 1, dout, keys(&p->v, p->Dv, c), 0, dP);
    CUDA_OK(SIMT_LAUNCH(backward_rows, rows_grid(c), dim3(THREADS), 0, s->cuda, weights, dscores, scores,
                        dweights, d->dout, *p, *c));
    cuda_gemm_batched(s, c->count, true, false, c->seen, p->Dv, rows, 1, P, dout, 1, d->dv);
    cuda_gemm_batched(s, c->count, true, false, c->seen, p->D, rows, p->scale, dS, q, 1, d->dk);
    cuda_gemm_batched(s, c->count, false, false, rows, p->D, c->seen, p->scale, dS, keys(&p->k, p->D, c), 0,
                      queries(p, &d->dq, p->D, c));
}

/* ---- the ops ------------------------------------------------------------------------------------------- */

static void check4(const char *function, const tensor *t, int64_t B, int64_t T, int64_t count, int64_t width)
{
    const int64_t dim[] = {B, T, count, width};
    tensor_require_shape(function, t, ACT_TYPE, 4, dim);
}

/* Checks the arguments that forward and backward share. */
static problem attention_problem(const char *function, const tensor *out, const tensor *lse, const tensor *q,
                                 const tensor *k, const tensor *v, const tensor *first, double scale)
{
    problem p;
    p.B = q->dim[0], p.T = q->dim[1], p.S = k->dim[1], p.past = p.S - p.T;
    p.H = q->dim[2], p.G = k->dim[2], p.D = q->dim[3], p.Dv = v->dim[3];
    check4(function, q, p.B, p.T, p.H, p.D);
    check4(function, k, p.B, p.S, p.G, p.D);
    check4(function, v, p.B, p.S, p.G, p.Dv);
    check4(function, out, p.B, p.T, p.H, p.Dv);
    const int64_t lse_dim[] = {p.B, p.H, p.T};
    tensor_require_shape(function, lse, F32, 3, lse_dim);
    tensor_require_shape(function, first, I32, 2, q->dim);
    REQUIRE(p.H % p.G == 0, "%s: %lld query heads for %lld key heads", function, (long long)p.H,
            (long long)p.G);
    REQUIRE(p.past >= 0, "%s: %lld queries for %lld keys", function, (long long)p.T, (long long)p.S);
    REQUIRE_CONTIGUOUS(lse);
    REQUIRE_CONTIGUOUS(first);
    p.scale = (float)scale;
    p.lse = (float *)lse->data;
    p.first = (const int32_t *)first->data;
    p.q = heads_of(q), p.k = heads_of(k), p.v = heads_of(v), p.out = heads_of(out);
    return p;
}

status CUDA(attention_unfused_supports)(stream *s, const attention_shape *shape, message *why)
{
    problem p = {};
    p.T = shape->T, p.S = shape->S, p.G = shape->G, p.D = shape->D, p.Dv = shape->Dv;
    plan n;
    if (plan_of(&n, &p, p.S == p.T, s)) return OK;
    return fail(why, ERR_USAGE, "a row of its scores does not fit the workspace of %lld bytes",
                (long long)s->workspace_bytes);
}

void CUDA(attention_unfused_forward)(tensor *out, tensor *lse, const tensor *q, const tensor *k,
                                     const tensor *v, const tensor *first, double scale, stream *s)
{
    const problem p = attention_problem(__func__, out, lse, q, k, v, first, scale);
    plan n;
    REQUIRE(plan_of(&n, &p, false, s), "%lld positions do not fit the workspace", (long long)p.S);
    for (int64_t b = 0; b < p.B; b++)
        for (int64_t g = 0; g < p.G; g += n.heads)
            for (int64_t h = g * (p.H / p.G); h < (g + 1) * (p.H / p.G); h++)
                for (int64_t q0 = 0; q0 < p.T; q0 += n.rows) {
                    const int64_t q1 = smaller(q0 + n.rows, p.T);
                    const chunk c = chunk_of(&p, b, h, g, smaller(n.heads, p.G - g), q0, q1);
                    forward_chunk(&p, &c, s, (char *)s->workspace);
                }
}

void CUDA(attention_unfused_backward)(tensor *dq, tensor *dk, tensor *dv, const tensor *dout,
                                      const tensor *out, const tensor *lse, const tensor *q, const tensor *k,
                                      const tensor *v, const tensor *first, double scale, stream *s)
{
    const problem p = attention_problem(__func__, out, lse, q, k, v, first, scale);
    REQUIRE(p.past == 0, "%s: %lld queries for %lld keys", __func__, (long long)p.T, (long long)p.S);
    check4(__func__, dq, p.B, p.T, p.H, p.D);
    check4(__func__, dk, p.B, p.T, p.G, p.D);
    check4(__func__, dv, p.B, p.T, p.G, p.Dv);
    check4(__func__, dout, p.B, p.T, p.H, p.Dv);
    const heads key = heads_of(dk), value = heads_of(dv);
    plan n;
    REQUIRE(plan_of(&n, &p, true, s), "%lld positions do not fit the workspace", (long long)p.T);
    for (int64_t b = 0; b < p.B; b++)
        for (int64_t g = 0; g < p.G; g += n.heads) {
            const int64_t count = smaller(n.heads, p.G - g);
            char *workspace = (char *)s->workspace;
            const int64_t dk_bytes = count * p.T * p.D * 4, dv_bytes = count * p.T * p.Dv * 4;
            float *dk_sums = (float *)cut(&workspace, dk_bytes),
                  *dv_sums = (float *)cut(&workspace, dv_bytes);
            CUDA_OK(cudaMemsetAsync(dk_sums, 0, (size_t)dk_bytes, s->cuda));
            CUDA_OK(cudaMemsetAsync(dv_sums, 0, (size_t)dv_bytes, s->cuda));
            const gradients d = {heads_of(dq), heads_of(dout), matrix{dk_sums, F32, p.D, p.T * p.D},
                                 matrix{dv_sums, F32, p.Dv, p.T * p.Dv}};
            for (int64_t h = g * (p.H / p.G); h < (g + 1) * (p.H / p.G); h++)
                for (int64_t q0 = 0; q0 < p.T; q0 += n.rows) {
                    const int64_t q1 = smaller(q0 + n.rows, p.T);
                    const chunk c = chunk_of(&p, b, h, g, count, q0, q1);
                    backward_chunk(&p, &d, &c, s, workspace);
                }
            const int64_t blocks = smaller(2048, blocks_for(count * p.T * p.D, THREADS));
            LAUNCH(store_sums, blocks, THREADS, 0, s, key, dk_sums, b, g, p.T, p.D, count);
            LAUNCH(store_sums, blocks, THREADS, 0, s, value, dv_sums, b, g, p.T, p.Dv, count);
        }
}
