/* Private to kernels/: causal attention of the rows of a pass over cached keys and values (gqa_decode,
 * mla_decode).
 *
 * A query is one head of one row. Its positions go in chunks of CHUNK at multiples of it, and a chunk in
 * tiles of TILE, with an online softmax from tile to tile (Milakov and Gimelshein 2018, arXiv:1805.02867).
 * Chunks do not know of each other: their results are combined in order at the end (`fold`), whether one
 * thread computes all of them or each is left in scratch by a thread of its own. So a query's bits depend on
 * its own position alone.
 *
 * A thread takes a block: some rows, of one or more sequences, and some heads. Its queries of one sequence
 * are a `group`, for which each tile is read and widened once. */
#ifndef REMLA_KERNELS_CPU_DECODE_H
#define REMLA_KERNELS_CPU_DECODE_H
#include "kernels/cpu/cached.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/vmath.h"
#include <omp.h>

enum {
    TILE = 64,
    CHUNK = 256,
    QUERIES = 64,     /* of a group, at most */
    VALUES = 1 << 15, /* and their values, in numbers */
    WIDEST = 2304     /* numbers of a widened position: a tile lies on the stack */
};

typedef struct decode_call {
    tensor *out;
    const tensor *q;
    const cached *k, *v; /* equal: values are the first Dv elements of keys */
    const ragged *r;
    int64_t H, G, D, Dv;
    real scale;
    int64_t chunks; /* of the longest sequence */
    real *scratch;  /* (N,H,chunks,Dv+2), or NULL: all chunks of a query by one thread */
    /* A block: so many rows, key/value heads, and query heads of each of them. */
    int64_t rows, kv, heads;
} decode_call;

/* Queries are ordered by key/value head, row and head; `each` of them read the same key/value head. */
typedef struct group {
    int64_t sequence, g, kv, heads, each, queries;
    int64_t first; /* position of the first row */
    int64_t position[QUERIES];
    const real *query[QUERIES];
    real *result[QUERIES]; /* (Dv) of `out` */
    real *place[QUERIES];  /* (chunks,Dv+2) of scratch: values, then the largest score and the sum */
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
    real high = before, part[COLUMNS];
    for (int64_t i = 0; i < TILE; i++) scores[i] = i < seen ? scores[i] * scale : -(real)INFINITY;
#pragma omp simd reduction(max : high)
    for (int64_t i = 0; i < TILE; i++) high = scores[i] > high ? scores[i] : high;
    for (int64_t i = 0; i < TILE; i++) scores[i] = real_exp(scores[i] - high);
    vec lanes = load(scores);
    for (int64_t i = LANES; i < TILE; i += LANES) lanes += load(scores + i);
    sum_lanes(part, lanes, lanes, lanes, lanes);
    const real shrink = real_exp(before - high); /* 0 at first, when before is minus infinity */
    *sum = fused(*sum, shrink, part[0]);
    *highest = high;
    if (shrink != 1)
        for (int64_t d = 0; d < Dv; d++) values[d] *= shrink;
}

/* Adds the values of a tile to queries from .. end-1, of which the later rows see no less than the earlier.
 */
static void weigh(const decode_call *c, const group *a, int64_t p, int64_t from, int64_t end,
                  const real *weights, const partial *into, const real *v, int64_t v_stride)
{
    for (int64_t e = from; e < end; e += ROWS) {
        const int64_t count = smaller(ROWS, end - e),
                      common = smaller(a->position[e] + 1 - p, TILE); /* all of them see so many */
        mix(count, into->values + e, c->Dv, weights + e * TILE, TILE, v, v_stride, common);
        for (int64_t i = e; i < e + count; i++) {
            const int64_t more = smaller(a->position[i] + 1 - p, TILE) - common;
            if (more > 0)
                mix(1, into->values + i, c->Dv, weights + i * TILE + common, TILE, v + common * v_stride,
                    v_stride, more);
        }
    }
}

/* The results of one chunk. */
static void decode_chunk(const decode_call *c, const group *a, int64_t chunk, partial *into)
{
    real room[TILE * WIDEST] __attribute__((aligned(64))),
        weights[QUERIES * TILE] __attribute__((aligned(64)));
    for (int64_t e = 0; e < a->queries; e++) {
        into->highest[e] = -(real)INFINITY;
        into->sum[e] = 0;
        memset(into->values[e], 0, (size_t)c->Dv * sizeof *room);
    }
    const int64_t last = smaller(a->position[a->queries - 1], (chunk + 1) * CHUNK - 1);
    for (int64_t p = chunk * CHUNK; p <= last; p += TILE) {
        const int64_t count = smaller(TILE, last + 1 - p);
        int64_t k_stride, v_stride;
        const real *k = tile_of(c, c->k, a->sequence, p, count, a->g * c->D, a->kv * c->D, room, &k_stride),
                   *v = k;
        if (c->v == c->k)
            v_stride = k_stride;
        else
            v = tile_of(c, c->v, a->sequence, p, count, a->g * c->Dv, a->kv * c->Dv,
                        room + TILE * a->kv * c->D, &v_stride);
        for (int64_t i = 0; i < a->kv; i++) {
            const int64_t end = (i + 1) * a->each, /* from: the first query that sees position p */
                from = i * a->each + larger(p - a->first, 0) * a->heads;
            dots(end - from, weights + from * TILE, TILE, a->query + from, k + i * c->D, k_stride, count,
                 c->D);
            for (int64_t e = from; e < end; e++)
                soften(weights + e * TILE, a->position[e] + 1 - p, c->scale, into->highest + e, into->sum + e,
                       into->values[e], c->Dv);
            weigh(c, a, p, from, end, weights, into, v + i * c->Dv, v_stride);
        }
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

static void divide(real *values, real sum, int64_t Dv)
{
    const real inverse = 1 / sum;
    for (int64_t d = 0; d < Dv; d++) values[d] *= inverse;
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
        memset(a->result[e], 0, (size_t)c->Dv * sizeof *values);
    }
    for (int64_t i = 0; i * CHUNK <= a->position[a->queries - 1]; i++) {
        decode_chunk(c, a, i, &chunk);
        for (int64_t e = 0; e < a->queries; e++)
            if (i * CHUNK <= a->position[e])
                fold(a->result[e], highest + e, sum + e, chunk.values[e], chunk.highest[e], chunk.sum[e],
                     c->Dv);
    }
    for (int64_t e = 0; e < a->queries; e++) divide(a->result[e], sum[e], c->Dv);
}

static void decode_group_chunk(const decode_call *c, const group *a, int64_t i)
{
    partial chunk;
    for (int64_t e = 0; e < a->queries; e++) chunk.values[e] = a->place[e] + i * (c->Dv + 2);
    decode_chunk(c, a, i, &chunk);
    for (int64_t e = 0; e < a->queries; e++) {
        chunk.values[e][c->Dv] = chunk.highest[e];
        chunk.values[e][c->Dv + 1] = chunk.sum[e];
    }
}

static real *place_of(const decode_call *c, int64_t n, int64_t h)
{
    return c->scratch ? c->scratch + (n * c->H + h) * c->chunks * (c->Dv + 2) : NULL;
}

static real *result_of(const decode_call *c, int64_t n, int64_t h)
{
    return (real *)c->out->data + n * c->out->stride[0] + h * c->out->stride[1];
}

/* What chunks have left in scratch becomes the result. */
static void combine(const decode_call *c, int64_t n, int64_t h, int64_t position)
{
    real *result = result_of(c, n, h), highest = -(real)INFINITY, sum = 0;
    memset(result, 0, (size_t)c->Dv * sizeof *result);
    for (int64_t i = 0; i * CHUNK <= position; i++) {
        const real *more = place_of(c, n, h) + i * (c->Dv + 2);
        fold(result, &highest, &sum, more, more[c->Dv], more[c->Dv + 1], c->Dv);
    }
    divide(result, sum, c->Dv);
}

/* The sequence of row n: the last that starts at or before it. */
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

/* `rows` rows of a sequence from n on, key/value heads from a->g on, of each `heads` query heads from h on.
 */
static void group_rows(const decode_call *c, group *a, int64_t n, int64_t rows, int64_t h)
{
    a->first = row_position(c->r, a->sequence, n);
    a->each = rows * a->heads;
    a->queries = a->kv * a->each;
    for (int64_t e = 0; e < a->queries; e++) {
        const int64_t row = n + e % a->each / a->heads,
                      head = (a->g + e / a->each) * (c->H / c->G) + h + e % a->heads;
        a->position[e] = a->first + row - n;
        a->query[e] = (const real *)c->q->data + row * c->q->stride[0] + head * c->q->stride[1];
        a->result[e] = result_of(c, row, head);
        a->place[e] = place_of(c, row, head);
    }
}

/* Block i: its groups, all of their chunks or, with scratch, the one that is named. */
static void decode_block(const decode_call *c, int64_t i, int64_t chunk)
{
    const int64_t heads = c->H / c->G, parts = blocks_of(heads, c->heads),
                  across = blocks_of(c->G, c->kv) * parts, h = i % parts * c->heads,
                  g = i % across / parts * c->kv, begin = i / across * c->rows,
                  end = smaller(begin + c->rows, c->r->N);
    group a = {.g = g, .kv = smaller(c->kv, c->G - g), .heads = smaller(c->heads, heads - h)};
    for (int64_t n = begin; n < end;) {
        a.sequence = sequence_of(c->r, n);
        const int64_t to = smaller(starts(c->r)[a.sequence + 1], end);
        group_rows(c, &a, n, to - n, h);
        if (!c->scratch)
            decode_group(c, &a);
        else if (chunk * CHUNK <= a.position[a.queries - 1])
            decode_group_chunk(c, &a, chunk);
        n = to;
    }
}

static int64_t blocks_in(const decode_call *c)
{
    return blocks_of(c->r->N, c->rows) * blocks_of(c->G, c->kv) * blocks_of(c->H / c->G, c->heads);
}

/* Cuts the queries into blocks, large ones as long as every thread gets some, and decides whether chunks are
 * shared out too. Nothing here changes a result. */
static void decode_plan(decode_call *c, tensor *scratch)
{
    const int64_t threads = omp_get_max_threads(), room = smaller(QUERIES, VALUES / c->Dv),
                  heads = c->H / c->G;
    c->heads = smaller(heads, room);
    c->kv = c->heads < heads ? 1 : smaller(smaller(c->G, room / heads), WIDEST / (c->D + c->Dv));
    c->kv = larger(c->kv, 1);
    c->rows = smaller(larger(room / (c->heads * c->kv), 1), blocks_of(c->r->N, 4 * threads));
    const bool fits = tensor_numel(scratch) >= c->r->N * c->H * c->chunks * (c->Dv + 2);
    c->scratch = fits && c->chunks > 1 && blocks_in(c) < 16 * threads ? scratch->data : NULL;
    /* Too few still: heads are shared out, at the price of reading less at a time, or more than once. */
    const int64_t pieces = blocks_in(c) * (c->scratch ? c->chunks : 1), more = blocks_of(threads, pieces);
    if (more > 1 && c->kv > 1)
        c->kv = blocks_of(c->kv, more);
    else if (more > 1 && c->heads > ROWS)
        c->heads = blocks_of(c->heads, smaller(more, c->heads / ROWS));
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
    const int64_t width = c.D + (k == v ? 0 : c.Dv);
    REQUIRE(width <= WIDEST && c.Dv <= VALUES, "%s: a position has %lld numbers, at most %d", function,
            (long long)width, WIDEST);
    cached_require(function, k);
    cached_require(function, v);
    require_ragged(function, r, k);
    require_ragged(function, r, v);
    if (r->N == 0) return;
    decode_plan(&c, scratch);
    const int64_t pieces = c.scratch ? c.chunks : 1, blocks = blocks_in(&c);
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
