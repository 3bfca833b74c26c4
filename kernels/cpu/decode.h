/* Private to kernels/: causal attention of the rows of a pass over cached keys and values (gqa_decode,
 * mla_decode).
 *
 * Chunks of positions (decode_chunk.h) do not know of each other. Their results are combined in order at the
 * end (`fold`), whether one thread computes all of them, or each is left in scratch by a thread of its own.
 * Either way gives the same bits.
 *
 * A thread takes a block: some rows, of one or more sequences, and some heads. Its queries of one sequence
 * are a `group`, for which each tile is read and widened once. */
#ifndef REMLA_KERNELS_CPU_DECODE_H
#define REMLA_KERNELS_CPU_DECODE_H
#include "kernels/cpu/decode_chunk.h"
#include <omp.h>

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

/* Combines what the chunks have left in scratch into the result. */
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

/* `rows` rows of a sequence from n on, key/value heads from a->g on, of each `heads` query
 * heads from h on. */
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
    const int64_t work = r->N * c.H * r->longest * (c.D + c.Dv);
    /* The longest first: what is left at the end is short. */
#pragma omp parallel for schedule(dynamic) if (blocks * pieces > 1 && work >= SHARED)
    for (int64_t i = blocks * pieces - 1; i >= 0; i--) decode_block(&c, i / pieces, i % pieces);
    if (!c.scratch) return;
#pragma omp parallel for schedule(static) if (work >= SHARED)
    for (int64_t i = 0; i < r->N * c.H; i++) {
        const int64_t n = i / c.H;
        combine(&c, n, i % c.H, row_position(r, sequence_of(r, n), n));
    }
}

#endif
