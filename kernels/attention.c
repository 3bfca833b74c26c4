/* Causal attention in tiles of scores (Dao 2023, arXiv:2307.08691): no row of scores is ever whole in memory.
 * A tile is a block of query rows times a block of keys. Its products are matrix products on the strided
 * views themselves, each by the one thread that owns the tile, and only the tile lies on that thread's stack.
 *
 * Forward is the paper's algorithm 1, an online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867). A
 * row keeps its largest score so far, the sum of the exponentials relative to it, and the values weighted by
 * them. A tile with a larger score first scales the sum and the values down; the division by the sum comes
 * last. Backward is algorithm 2. It computes the weights again from the scores and the kept log-sum-exp.
 *
 * The T query rows are the last of S positions: row t is at position past + t, past = S - T. Two bounds say
 * which keys a tile holds: none behind the block's last row, none before the document of its first row
 * (`first` does not fall, so that this one is the smallest). Tiles outside are never visited, tiles at the
 * edge are cut to size, and what is left over in a tile is masked row by row. Key blocks start at multiples
 * of KEYS, so that every loop below, by queries or by keys, cuts the same tiles and adds them up in the same
 * order: the bits do not depend on the number of threads. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vmath.h"
#include <omp.h>
#include <string.h>

/* Sizes of a tile: measured. Few queries waste little at the diagonal, many keys keep the products long. */
enum { QUERIES = 64, KEYS = 256, TILE = QUERIES * KEYS };
_Static_assert(KEYS % QUERIES == 0, "the first query block of a key block");

/* A (B,T,heads,width) tensor. */
typedef struct heads {
    real *data;
    int64_t batch, row, head; /* strides */
} heads;

typedef struct problem {
    int64_t B, T, S, H, G, D, Dv;
    int64_t past; /* S - T: the position of the first query */
    double scale;
    const int32_t *first; /* (B,T) */
    real *lse;            /* (B,H,T) */
    heads q, k, v, out;
} problem;

/* Where queries and keys of one tile begin and end. */
typedef struct tile {
    int64_t q0, q1, k0, k1;
} tile;

static heads attention_heads_of(const tensor *x)
{
    return (heads){x->data, x->stride[0], x->stride[1], x->stride[2]};
}

static real *attention_rows(const heads *x, int64_t b, int64_t t, int64_t h)
{
    return x->data + b * x->batch + t * x->row + h * x->head;
}

/* Query block i times key block j of sequence b, j from first_key_block to last_key_block: never empty. */
static tile tile_of(const problem *p, int64_t b, int64_t i, int64_t j)
{
    tile at = {.q0 = i * QUERIES, .q1 = smaller((i + 1) * QUERIES, p->T)};
    at.k0 = larger(j * KEYS, p->first[b * p->T + at.q0]);
    at.k1 = smaller((j + 1) * KEYS, p->past + at.q1);
    return at;
}

/* The first and the last key block that query block i sees. */
static int64_t first_key_block(const problem *p, int64_t b, int64_t i)
{
    return p->first[b * p->T + i * QUERIES] / KEYS;
}
static int64_t last_key_block(const problem *p, int64_t i)
{
    return (p->past + smaller((i + 1) * QUERIES, p->T) - 1) / KEYS;
}

/* The keys of a tile that its row t sees, counted from the tile's first: none when from >= to. */
static void visible(const problem *p, int64_t b, const tile *at, int64_t t, int64_t *from, int64_t *to)
{
    *from = larger(p->first[b * p->T + t], at->k0) - at->k0;
    *to = smaller(p->past + t + 1, at->k1) - at->k0;
}

static void clear(real *row, int64_t count) { memset(row, 0, (size_t)count * sizeof *row); }

static void mask_row(real *row, int64_t from, int64_t to, int64_t count)
{
    if (from > 0) clear(row, from);
    if (to < count) clear(row + to, count - to);
}

/* scores = scale * q k^T, row-major with row stride KEYS. */
static void score(const problem *p, int64_t b, int64_t h, const tile *at, real *scores)
{
    gemm(false, true, at->q1 - at->q0, at->k1 - at->k0, p->D, p->scale, attention_rows(&p->q, b, at->q0, h),
         p->q.row, attention_rows(&p->k, b, at->k0, h / (p->H / p->G)), p->k.row, 0, scores, KEYS);
}

/* One block of query rows: out and lse. The running sum of each row lives in `out`, relative to the row's
 * maximum so far, and is scaled down when a later tile has a larger score. */
static void forward_block(const problem *p, int64_t b, int64_t h, int64_t i)
{
    real scores[TILE] __attribute__((aligned(64)));
    real highest[QUERIES], sum[QUERIES];
    const int64_t q0 = i * QUERIES, q1 = smaller(q0 + QUERIES, p->T);
    for (int64_t r = 0; r < QUERIES; r++) highest[r] = -(real)INFINITY, sum[r] = 0;

    const int64_t begin = first_key_block(p, b, i), end = last_key_block(p, i);
    for (int64_t j = begin; j <= end; j++) {
        const tile at = tile_of(p, b, i, j);
        const int64_t keys = at.k1 - at.k0;
        score(p, b, h, &at, scores);
        for (int64_t t = q0; t < q1; t++) {
            real *row = scores + (t - q0) * KEYS, *out = attention_rows(&p->out, b, t, h);
            int64_t from, to;
            visible(p, b, &at, t, &from, &to);
            if (from >= to) {
                /* A document that starts after this tile's keys, in one block with one that starts before. */
                clear(row, keys);
                continue;
            }
            const real before = highest[t - q0];
            real high = before, part = 0;
#pragma omp simd reduction(max : high)
            for (int64_t s = from; s < to; s++) high = row[s] > high ? row[s] : high;
#pragma omp simd reduction(+ : part)
            for (int64_t s = from; s < to; s++) {
                row[s] = real_exp(row[s] - high);
                part += row[s];
            }
            mask_row(row, from, to, keys);
            const real shrink = real_exp(before - high); /* 0 at first, when before is minus infinity */
            sum[t - q0] = sum[t - q0] * shrink + part;
            highest[t - q0] = high;
            if (j > begin && shrink != 1)
                for (int64_t d = 0; d < p->Dv; d++) out[d] *= shrink;
        }
        gemm(false, false, q1 - q0, p->Dv, keys, 1, scores, KEYS,
             attention_rows(&p->v, b, at.k0, h / (p->H / p->G)), p->v.row, j > begin,
             attention_rows(&p->out, b, q0, h), p->out.row);
    }

    for (int64_t t = q0; t < q1; t++) {
        real *out = attention_rows(&p->out, b, t, h);
        const real inverse = 1 / sum[t - q0];
        for (int64_t d = 0; d < p->Dv; d++) out[d] *= inverse;
        p->lse[(b * p->H + h) * p->T + t] = highest[t - q0] + REAL(log)(sum[t - q0]);
    }
}

typedef struct gradients {
    heads dq, dk, dv, dout;
} gradients;

/* One tile of the backward pass of query head h: adds to dk and dv of the tile's keys when `keys` is set, and
 * to dq of its queries when `queries` is (written instead where this is the first tile of those queries).
 * With P = exp(scores - lse): dv += P^T dout; dP = dout v^T; dS = P * (dP - delta), delta = sum(dout * out)
 * of the row; dk += scale dS^T q; dq += scale dS k. */
static void backward_tile(const problem *p, const gradients *d, int64_t b, int64_t h, int64_t i, int64_t j,
                          bool queries, bool keys)
{
    const tile at = tile_of(p, b, i, j);
    const int64_t m = at.q1 - at.q0, n = at.k1 - at.k0, g = h / (p->H / p->G);
    real weights[TILE] __attribute__((aligned(64)));
    real dweights[TILE] __attribute__((aligned(64)));
    const real *dout = attention_rows(&d->dout, b, at.q0, h);

    score(p, b, h, &at, weights);
    for (int64_t t = at.q0; t < at.q1; t++) {
        real *row = weights + (t - at.q0) * KEYS;
        const real lse = p->lse[(b * p->H + h) * p->T + t];
        int64_t from, to;
        visible(p, b, &at, t, &from, &to);
        if (from >= to) {
            clear(row, n);
            continue;
        }
#pragma omp simd
        for (int64_t s = from; s < to; s++) row[s] = real_exp(row[s] - lse);
        mask_row(row, from, to, n);
    }
    if (keys)
        gemm(true, false, n, p->Dv, m, 1, weights, KEYS, dout, d->dout.row, 1,
             attention_rows(&d->dv, b, at.k0, g), d->dv.row);

    gemm(false, true, m, n, p->Dv, 1, dout, d->dout.row, attention_rows(&p->v, b, at.k0, g), p->v.row, 0,
         dweights, KEYS);
    for (int64_t t = at.q0; t < at.q1; t++) {
        const real *row = weights + (t - at.q0) * KEYS, *dout_row = attention_rows(&d->dout, b, t, h),
                   *out = attention_rows(&p->out, b, t, h);
        real *drow = dweights + (t - at.q0) * KEYS;
        /* Summed again for every tile: far less work than the tile's products, and nothing need be kept. */
        real delta = 0;
#pragma omp simd reduction(+ : delta)
        for (int64_t e = 0; e < p->Dv; e++) delta += dout_row[e] * out[e];
#pragma omp simd
        for (int64_t s = 0; s < n; s++) drow[s] = row[s] * (drow[s] - delta);
    }
    if (keys)
        gemm(true, false, n, p->D, m, p->scale, dweights, KEYS, attention_rows(&p->q, b, at.q0, h), p->q.row,
             1, attention_rows(&d->dk, b, at.k0, g), d->dk.row);
    if (queries)
        gemm(false, false, m, p->D, n, p->scale, dweights, KEYS, attention_rows(&p->k, b, at.k0, g), p->k.row,
             j > first_key_block(p, b, i), attention_rows(&d->dq, b, at.q0, h), d->dq.row);
}

/* dk and dv of one block of keys, from all query heads of its group in turn; dq as well, on the way, when
 * `queries` is set. */
static void backward_key_block(const problem *p, const gradients *d, int64_t b, int64_t g, int64_t j,
                               bool queries)
{
    for (int64_t t = j * KEYS; t < smaller((j + 1) * KEYS, p->T); t++) {
        clear(attention_rows(&d->dk, b, t, g), p->D);
        clear(attention_rows(&d->dv, b, t, g), p->Dv);
    }
    const int64_t group = p->H / p->G, blocks = blocks_of(p->T, QUERIES);
    for (int64_t h = g * group; h < (g + 1) * group; h++)
        for (int64_t i = j * KEYS / QUERIES; i < blocks && first_key_block(p, b, i) <= j; i++)
            backward_tile(p, d, b, h, i, j, queries, true);
}

static void require_first(const problem *p)
{
    for (int64_t b = 0; b < p->B; b++)
        for (int64_t t = 0; t < p->T; t++) {
            const int32_t now = p->first[b * p->T + t], before = t > 0 ? p->first[b * p->T + t - 1] : 0;
            REQUIRE(now >= before && now <= p->past + t, "first[%lld][%lld] is %d after %d", (long long)b,
                    (long long)t, now, before);
        }
}

/* Checks the arguments that forward and backward share. */
static problem attention_problem(const char *function, const tensor *out, const tensor *lse, const tensor *q,
                                 const tensor *k, const tensor *v, const tensor *first, double scale)
{
    problem p = {.B = q->dim[0],
                 .T = q->dim[1],
                 .S = k->dim[1],
                 .H = q->dim[2],
                 .G = k->dim[2],
                 .D = q->dim[3],
                 .Dv = v->dim[3],
                 .scale = scale};
    tensor_require_shape(function, q, REAL_TYPE, 4, (const int64_t[]){p.B, p.T, p.H, p.D});
    tensor_require_shape(function, k, REAL_TYPE, 4, (const int64_t[]){p.B, p.S, p.G, p.D});
    tensor_require_shape(function, v, REAL_TYPE, 4, (const int64_t[]){p.B, p.S, p.G, p.Dv});
    tensor_require_shape(function, out, REAL_TYPE, 4, (const int64_t[]){p.B, p.T, p.H, p.Dv});
    tensor_require_shape(function, lse, REAL_TYPE, 3, (const int64_t[]){p.B, p.H, p.T});
    tensor_require_shape(function, first, I32, 2, (const int64_t[]){p.B, p.T});
    REQUIRE(p.H % p.G == 0, "%s: %lld query heads for %lld key heads", function, (long long)p.H,
            (long long)p.G);
    REQUIRE(p.S >= p.T, "%s: %lld queries for %lld keys", function, (long long)p.T, (long long)p.S);
    REQUIRE_CONTIGUOUS(lse);
    REQUIRE_CONTIGUOUS(first);
    p.past = p.S - p.T;
    p.lse = lse->data;
    p.first = first->data;
    p.q = attention_heads_of(q);
    p.k = attention_heads_of(k);
    p.v = attention_heads_of(v);
    p.out = attention_heads_of(out);
    require_first(&p);
    return p;
}

void CPU(attention_forward)(tensor *out, tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                            const tensor *first, double scale, stream *s)
{
    (void)s;
    const problem p = attention_problem(__func__, out, lse, q, k, v, first, scale);
    const int64_t blocks = blocks_of(p.T, QUERIES), count = p.B * p.H * blocks;
    /* Blocks of one head in turn: its keys and values stay in the cache. The last blocks see the most keys
     * and come first, so that no thread is left alone with one at the end. */
#pragma omp parallel for schedule(dynamic)
    for (int64_t n = 0; n < count; n++)
        forward_block(&p, n / blocks / p.H, n / blocks % p.H, blocks - 1 - n % blocks);
}

void CPU(attention_backward)(tensor *dq, tensor *dk, tensor *dv, const tensor *dout, const tensor *out,
                             const tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                             const tensor *first, double scale, stream *s)
{
    (void)s;
    const problem p = attention_problem(__func__, out, lse, q, k, v, first, scale);
    REQUIRE_SHAPE(dq, REAL_TYPE, p.B, p.T, p.H, p.D);
    REQUIRE(p.S == p.T, "%s: %lld queries for %lld keys", __func__, (long long)p.T, (long long)p.S);
    REQUIRE_SHAPE(dk, REAL_TYPE, p.B, p.S, p.G, p.D);
    REQUIRE_SHAPE(dv, REAL_TYPE, p.B, p.S, p.G, p.Dv);
    REQUIRE_SHAPE(dout, REAL_TYPE, p.B, p.T, p.H, p.Dv);
    const gradients d = {attention_heads_of(dq), attention_heads_of(dk), attention_heads_of(dv),
                         attention_heads_of(dout)};
    const int64_t key_blocks = blocks_of(p.T, KEYS), query_blocks = blocks_of(p.T, QUERIES);
    const int64_t pairs = p.B * p.G, threads = omp_get_max_threads();

    /* A (sequence, key head) pair is work of its own: each tile is computed once, for dq, dk and dv. Where
     * there are too few pairs to keep the threads busy, dk and dv by key blocks and then dq by query blocks
     * are many more pieces, and compute the scores twice: 1.4 times the work. */
    if (blocks_of(pairs, threads) * threads * 10 <= pairs * 14) {
#pragma omp parallel for schedule(dynamic)
        for (int64_t n = 0; n < pairs; n++)
            for (int64_t j = 0; j < key_blocks; j++) backward_key_block(&p, &d, n / p.G, n % p.G, j, true);
        return;
    }
#pragma omp parallel
    {
#pragma omp for schedule(dynamic) nowait
        for (int64_t n = 0; n < pairs * key_blocks; n++)
            backward_key_block(&p, &d, n / key_blocks / p.G, n / key_blocks % p.G, n % key_blocks, false);
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < p.B * p.H * query_blocks; n++) {
            const int64_t h = n / query_blocks % p.H, b = n / query_blocks / p.H,
                          i = query_blocks - 1 - n % query_blocks;
            for (int64_t j = first_key_block(&p, b, i); j <= last_key_block(&p, i); j++)
                backward_tile(&p, &d, b, h, i, j, true, false);
        }
    }
}
