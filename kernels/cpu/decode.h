/* Private to kernels/: causal attention of the rows of a pass over cached keys and values (gqa_decode,
 * mla_decode).
 *
 * A query is one head of one row. Its positions go in chunks of CHUNK at multiples of it, and a chunk in
 * tiles of TILE, with an online softmax from tile to tile (Milakov and Gimelshein 2018, arXiv:1805.02867).
 * Chunks do not know of each other: their results are combined in order at the end (`fold`), whether one
 * thread computes all of them or each is left in scratch by a thread of its own. So a query's bits depend on
 * its own position alone.
 *
 * A thread takes a block of queries that read the same key/value head. They may be of several sequences;
 * those of one sequence, a `group`, share each tile, which is widened once for all of them. */
#ifndef REMLA_KERNELS_CPU_DECODE_H
#define REMLA_KERNELS_CPU_DECODE_H
#include "kernels/cpu/cached.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/vmath.h"
#include <omp.h>

enum {
    TILE = 32,
    CHUNK = 256,
    QUERIES = 64,     /* at most, of a block */
    VALUES = 1 << 15, /* and their values, in numbers */
    WIDEST = 4096     /* D + Dv: a widened tile lies on the stack */
};

typedef struct decode_call {
    tensor *out;
    const tensor *q;
    const cached *k, *v; /* equal: values are the first Dv elements of keys */
    const ragged *r;
    int64_t H, G, D, Dv;
    real scale;
    int64_t chunks;      /* of the longest sequence */
    real *scratch;       /* (N,H,chunks,Dv+2), or NULL: chunks of a query by one thread */
    int64_t rows, heads; /* of a block of queries */
    int64_t across;      /* blocks of heads for each key/value head */
} decode_call;

/* Queries of one sequence: heads h to h+heads-1 of rows n to n+rows-1, query e being head h + e%heads of row
 * n + e/heads. */
typedef struct group {
    int64_t sequence, n, h, g, heads, queries;
    int64_t first; /* position of row n */
} group;

/* What a chunk leaves of each query: the largest score, the sum of the exponentials relative to it, and the
 * values weighted by them. */
typedef struct partial {
    real highest[QUERIES], sum[QUERIES];
    real *values[QUERIES];
} partial;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

static const int32_t *starts(const ragged *r) { return r->start.data; }

static int64_t position_of(const group *a, int64_t e) { return a->first + e / a->heads; }

/* `count` rows of the cache from position p on, elements from .. from+width-1: where they lie, or widened in
 * `room`. Returns their first, and their stride. */
static const real *tile_of(const decode_call *c, const cached *rows, int64_t sequence, int64_t p,
                           int64_t count, int64_t from, int64_t width, real *room, int64_t *stride)
{
    const int64_t page = c->r->page;
    const int32_t *table = (const int32_t *)c->r->table.data + sequence * c->r->table.dim[1];
    if (rows->rows.type == REAL_TYPE && page % TILE == 0) {
        *stride = rows->rows.dim[1];
        return (const real *)rows->rows.data + (table[p / page] * page + p % page) * *stride + from;
    }
    for (int64_t i = 0; i < count; i++)
        cached_load(room + i * width, rows, table[(p + i) / page] * page + (p + i) % page, from, width);
    *stride = width;
    return room;
}

/* One query and one tile of `seen` keys: scores become weights relative to the largest score so far, and what
 * is kept of earlier tiles is scaled down to it. A function of its own, for the same instructions everywhere.
 */
static __attribute__((noinline)) void soften(real scores[TILE], int64_t seen, real scale, real *highest,
                                             real *sum, real *values, int64_t Dv)
{
    const real before = *highest;
    real high = before;
    for (int64_t i = 0; i < TILE; i++) scores[i] = i < seen ? scores[i] * scale : -(real)INFINITY;
    for (int64_t i = 0; i < TILE; i++) high = scores[i] > high ? scores[i] : high;
    for (int64_t i = 0; i < TILE; i++) scores[i] = real_exp(scores[i] - high);
    real lane[TILE];
    memcpy(lane, scores, sizeof lane);
    for (int64_t half = TILE / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half; i++) lane[i] += lane[i + half];
    const real shrink = real_exp(before - high); /* 0 at first, when before is minus infinity */
    *sum = fused(*sum, shrink, lane[0]);
    *highest = high;
    if (shrink != 1)
        for (int64_t d = 0; d < Dv; d++) values[d] *= shrink;
}

/* Queries `from` and on of the group see all or part of a tile of keys, later rows no less than earlier. */
static void weigh(const decode_call *c, const group *a, int64_t p, int64_t from, real *weights,
                  const partial *into, const real *v, int64_t v_stride)
{
    for (int64_t e = from; e < a->queries; e += ROWS) {
        const int64_t count = smaller(ROWS, a->queries - e),
                      common = smaller(position_of(a, e) + 1 - p, TILE); /* all of them see so many */
        mix(count, into->values + e, c->Dv, weights + e * TILE, TILE, v, v_stride, common);
        for (int64_t i = e; i < e + count; i++) {
            const int64_t more = smaller(position_of(a, i) + 1 - p, TILE) - common;
            if (more > 0)
                mix(1, into->values + i, c->Dv, weights + i * TILE + common, TILE, v + common * v_stride,
                    v_stride, more);
        }
    }
}

/* The results of one chunk for a group. */
static void decode_chunk(const decode_call *c, const group *a, int64_t chunk, partial *into)
{
    real room[TILE * WIDEST] __attribute__((aligned(64))),
        weights[QUERIES * TILE] __attribute__((aligned(64)));
    const real *query[QUERIES];
    for (int64_t e = 0; e < a->queries; e++) {
        query[e] = (const real *)c->q->data + (a->n + e / a->heads) * c->q->stride[0] +
                   (a->h + e % a->heads) * c->q->stride[1];
        into->highest[e] = -(real)INFINITY;
        into->sum[e] = 0;
        memset(into->values[e], 0, (size_t)c->Dv * sizeof *room);
    }
    const int64_t last = smaller(position_of(a, a->queries - 1), (chunk + 1) * CHUNK - 1);
    for (int64_t p = chunk * CHUNK; p <= last; p += TILE) {
        const int64_t count = smaller(TILE, last + 1 - p);
        int64_t from = larger(p - a->first, 0) * a->heads; /* the first query that sees position p */
        int64_t k_stride, v_stride;
        const real *k = tile_of(c, c->k, a->sequence, p, count, a->g * c->D, c->D, room, &k_stride), *v = k;
        if (c->v == c->k)
            v_stride = k_stride;
        else
            v = tile_of(c, c->v, a->sequence, p, count, a->g * c->Dv, c->Dv, room + TILE * c->D, &v_stride);
        dots(a->queries - from, weights + from * TILE, TILE, query + from, k, k_stride, count, c->D);
        for (int64_t e = from; e < a->queries; e++)
            soften(weights + e * TILE, position_of(a, e) + 1 - p, c->scale, into->highest + e, into->sum + e,
                   into->values[e], c->Dv);
        weigh(c, a, p, from, weights, into, v, v_stride);
    }
}

/* Adds a chunk's result to that of the chunks before it. */
static __attribute__((noinline)) void fold(real *values, real *highest, real *sum, const real *more,
                                           real more_highest, real more_sum, int64_t Dv)
{
    const real high = more_highest > *highest ? more_highest : *highest, keep = real_exp(*highest - high),
               take = real_exp(more_highest - high);
    *sum = fused(*sum, keep, more_sum * take);
    *highest = high;
    for (int64_t d = 0; d < Dv; d++) values[d] = fused(values[d], keep, more[d] * take);
}

static __attribute__((noinline)) void divide(real *values, real sum, int64_t Dv)
{
    const real inverse = 1 / sum;
    for (int64_t d = 0; d < Dv; d++) values[d] *= inverse;
}

static real *result_of(const decode_call *c, int64_t n, int64_t h)
{
    return (real *)c->out->data + n * c->out->stride[0] + h * c->out->stride[1];
}

/* All chunks of a group, one after the other. */
static void decode_group(const decode_call *c, const group *a)
{
    real values[VALUES] __attribute__((aligned(64))), highest[QUERIES], sum[QUERIES];
    partial chunk;
    for (int64_t e = 0; e < a->queries; e++) {
        chunk.values[e] = values + e * c->Dv;
        highest[e] = -(real)INFINITY;
        sum[e] = 0;
        memset(result_of(c, a->n + e / a->heads, a->h + e % a->heads), 0, (size_t)c->Dv * sizeof *values);
    }
    for (int64_t i = 0; i * CHUNK <= position_of(a, a->queries - 1); i++) {
        decode_chunk(c, a, i, &chunk);
        for (int64_t e = 0; e < a->queries; e++)
            if (i * CHUNK <= position_of(a, e))
                fold(result_of(c, a->n + e / a->heads, a->h + e % a->heads), highest + e, sum + e,
                     chunk.values[e], chunk.highest[e], chunk.sum[e], c->Dv);
    }
    for (int64_t e = 0; e < a->queries; e++)
        divide(result_of(c, a->n + e / a->heads, a->h + e % a->heads), sum[e], c->Dv);
}

/* Where a query's chunk lies in scratch: the values, then the largest score and the sum. */
static real *place_of(const decode_call *c, int64_t n, int64_t h, int64_t chunk)
{
    return c->scratch + ((n * c->H + h) * c->chunks + chunk) * (c->Dv + 2);
}

static void decode_group_chunk(const decode_call *c, const group *a, int64_t i)
{
    partial chunk;
    for (int64_t e = 0; e < a->queries; e++)
        chunk.values[e] = place_of(c, a->n + e / a->heads, a->h + e % a->heads, i);
    decode_chunk(c, a, i, &chunk);
    for (int64_t e = 0; e < a->queries; e++) {
        chunk.values[e][c->Dv] = chunk.highest[e];
        chunk.values[e][c->Dv + 1] = chunk.sum[e];
    }
}

static void combine(const decode_call *c, int64_t n, int64_t h, int64_t position)
{
    real *result = result_of(c, n, h), highest = -(real)INFINITY, sum = 0;
    memset(result, 0, (size_t)c->Dv * sizeof *result);
    for (int64_t i = 0; i * CHUNK <= position; i++) {
        const real *more = place_of(c, n, h, i);
        fold(result, &highest, &sum, more, more[c->Dv], more[c->Dv + 1], c->Dv);
    }
    divide(result, sum, c->Dv);
}

/* The sequence of row n: the last that starts at or before it and has rows. */
static int64_t sequence_of(const ragged *r, int64_t n)
{
    const int32_t *start = starts(r);
    int64_t low = 0, high = r->sequences; /* start[low] <= n < start[high] */
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (start[middle] <= n)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int64_t row_position(const ragged *r, int64_t sequence, int64_t n)
{
    return ((const int32_t *)r->length.data)[sequence] - (starts(r)[sequence + 1] - n);
}

/* Block of queries `i`: its groups, all of their chunks or, with scratch, the one that is named. */
static void decode_block(const decode_call *c, int64_t i, int64_t chunk)
{
    const int64_t heads = c->H / c->G, column = i % (c->G * c->across), g = column / c->across,
                  h = column % c->across * c->heads, begin = i / (c->G * c->across) * c->rows,
                  end = smaller(begin + c->rows, c->r->N);
    group a = {.g = g, .h = g * heads + h, .heads = smaller(c->heads, heads - h)};
    for (int64_t n = begin; n < end;) {
        a.sequence = sequence_of(c->r, n);
        const int64_t to = smaller(starts(c->r)[a.sequence + 1], end);
        a.n = n;
        a.queries = (to - n) * a.heads;
        a.first = row_position(c->r, a.sequence, n);
        if (!c->scratch)
            decode_group(c, &a);
        else if (chunk * CHUNK <= position_of(&a, a.queries - 1))
            decode_group_chunk(c, &a, chunk);
        n = to;
    }
}

/* Cuts the queries into blocks for the threads, and decides whether chunks are shared out too. */
static void decode_plan(decode_call *c, tensor *scratch)
{
    const int64_t N = c->r->N, heads = c->H / c->G, wanted = 4 * omp_get_max_threads();
    c->heads = smaller(heads, smaller(QUERIES, VALUES / c->Dv));
    c->rows =
        c->heads < heads ? 1 : smaller(smaller(QUERIES, VALUES / c->Dv) / heads, blocks_of(N * c->G, wanted));
    const bool fits = tensor_numel(scratch) >= N * c->H * c->chunks * (c->Dv + 2);
    const int64_t blocks = blocks_of(N, c->rows) * c->G;
    c->scratch = fits && c->chunks > 1 && blocks < 4 * wanted ? scratch->data : NULL;
    /* Too few still: heads of a block are shared out, at the price of reading its tiles more than once. */
    const int64_t pieces = blocks * (c->scratch ? c->chunks : 1);
    if (c->rows == 1 && pieces < wanted / 4 && c->heads > ROWS)
        c->heads = blocks_of(c->heads, smaller(blocks_of(wanted / 4, pieces), c->heads / ROWS));
    c->across = blocks_of(heads, c->heads);
}

static void require_ragged(const char *function, const ragged *r, const cached *rows)
{
    tensor_require_shape(function, &r->start, I32, 1, (const int64_t[]){r->sequences + 1});
    tensor_require_shape(function, &r->length, I32, 1, (const int64_t[]){r->sequences});
    tensor_require_shape(function, &r->table, I32, 2, (const int64_t[]){r->sequences, r->table.dim[1]});
    REQUIRE(r->page > 0, "%s: pages of %lld positions", function, (long long)r->page);
    REQUIRE(starts(r)[0] == 0 && starts(r)[r->sequences] == r->N, "%s: rows %d to %d of %lld", function,
            starts(r)[0], starts(r)[r->sequences], (long long)r->N);
    const int32_t *table = r->table.data;
    for (int64_t i = 0; i < r->sequences; i++) {
        const int64_t length = ((const int32_t *)r->length.data)[i], mine = starts(r)[i + 1] - starts(r)[i];
        REQUIRE(mine >= 0 && mine <= length && length <= r->longest && length <= r->table.dim[1] * r->page,
                "%s: sequence %lld has %lld rows, length %lld of at most %lld, and %lld pages", function,
                (long long)i, (long long)mine, (long long)length, (long long)r->longest,
                (long long)r->table.dim[1]);
        for (int64_t p = 0; mine > 0 && p * r->page < length; p++) {
            const int64_t page = table[i * r->table.dim[1] + p];
            REQUIRE(page >= 0 && (page + 1) * r->page <= rows->rows.dim[0], "%s: page %lld of %lld", function,
                    (long long)page, (long long)(rows->rows.dim[0] / r->page));
        }
    }
}

static void decode(const char *function, tensor *out, const tensor *q, const cached *k, const cached *v,
                   const ragged *r, int64_t G, double scale, tensor *scratch)
{
    decode_call c = {.out = out,
                     .q = q,
                     .k = k,
                     .v = v,
                     .r = r,
                     .H = q->dim[1],
                     .G = G,
                     .D = q->dim[2],
                     .Dv = out->dim[2],
                     .scale = (real)scale,
                     .chunks = blocks_of(r->longest, CHUNK)};
    tensor_require_shape(function, q, REAL_TYPE, 3, (const int64_t[]){r->N, c.H, c.D});
    tensor_require_shape(function, out, REAL_TYPE, 3, (const int64_t[]){r->N, c.H, c.Dv});
    tensor_require_shape(function, scratch, REAL_TYPE, 1, (const int64_t[]){scratch->dim[0]});
    REQUIRE(scratch->dim[0] >= c.H * (c.Dv + 2), "%s: scratch has %lld numbers", function,
            (long long)scratch->dim[0]);
    REQUIRE(c.D + c.Dv <= WIDEST, "%s: heads of %lld and %lld, together at most %d", function, (long long)c.D,
            (long long)c.Dv, WIDEST);
    cached_require(function, k);
    cached_require(function, v);
    require_ragged(function, r, k);
    require_ragged(function, r, v);
    if (r->N == 0) return;
    decode_plan(&c, scratch);
    const int64_t pieces = c.scratch ? c.chunks : 1, blocks = blocks_of(r->N, c.rows) * c.G * c.across;
    /* The longest first: what is left at the end is short. */
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = blocks * pieces - 1; i >= 0; i--) decode_block(&c, i / pieces, i % pieces);
    if (!c.scratch) return;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < r->N * c.H; i++) {
        const int64_t n = i / c.H;
        combine(&c, n, i % c.H, row_position(r, sequence_of(r, n), n));
    }
}

#endif
