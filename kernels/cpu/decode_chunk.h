/* Private to kernels/: the attention of some queries over one chunk of cached positions. The rest is
 * in decode.h.
 *
 * A query is one head of one row. Its positions go in chunks of CHUNK at multiples of it, and a chunk in
 * tiles of TILE, with an online softmax from tile to tile (Milakov and Gimelshein 2018, arXiv:1805.02867).
 * Places are fixed and every step is the same in any company, so that a query's bits depend on its own
 * position alone. */
#ifndef REMLA_KERNELS_CPU_DECODE_CHUNK_H
#define REMLA_KERNELS_CPU_DECODE_CHUNK_H
#include "kernels/cpu/cached.h"
#include "kernels/cpu/products.h"
#include "kernels/cpu/vmath.h"

enum {
    TILE = 64,
    CHUNK = 256,
    QUERIES = 64,     /* of a group, at most */
    VALUES = 1 << 15, /* and their values, in numbers */
    WIDEST = 3072     /* numbers of a widened position: a tile lies on the stack */
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
 * is kept of earlier tiles is scaled down to it. Not inlined, so that all callers run the same code. */
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

/* Adds the values of positions p to p+count-1 to queries from .. end-1, of which the later rows see no less
 * than the earlier. */
static void weigh(const decode_call *c, const group *a, int64_t p, int64_t count, int64_t from, int64_t end,
                  const real *weights, const partial *into, const real *v, int64_t v_stride)
{
    for (int64_t e = from; e < end; e += ROWS) {
        const int64_t rows = smaller(ROWS, end - e),
                      common = smaller(a->position[e] + 1 - p, count); /* all of them see so many */
        mix(rows, into->values + e, c->Dv, weights + e * TILE, TILE, v, v_stride, common);
        for (int64_t i = e; i < e + rows; i++) {
            const int64_t more = smaller(a->position[i] + 1 - p, count) - common;
            if (more > 0)
                mix(1, into->values + i, c->Dv, weights + i * TILE + common, TILE, v + common * v_stride,
                    v_stride, more);
        }
    }
}

/* Memory that will be read soon, in two pieces. It is prefetched a little at a time, while the processor
 * computes. */
typedef struct ahead {
    const char *at[2], *end[2];
} ahead;

/* Adds where the tile from position p on lies, if the sequence has one and it lies in one piece. */
static void ahead_add(ahead *next, int piece, const decode_call *c, const group *a, const cached *rows,
                      int64_t p)
{
    const int64_t page = c->r->page, row_bytes = rows->rows.dim[1] * dtype_bytes(rows->rows.type),
                  count = smaller(TILE, a->position[a->queries - 1] + 1 - p);
    if (count <= 0 || page % TILE != 0 || a->kv < c->G) return;
    const int32_t *table = (const int32_t *)c->r->table.data + a->sequence * c->r->table.dim[1];
    next->at[piece] = (const char *)rows->rows.data + (table[p / page] * page + p % page) * row_bytes;
    next->end[piece] = next->at[piece] + count * row_bytes;
}

static int64_t ahead_bytes(const ahead *next)
{
    return next->end[0] - next->at[0] + next->end[1] - next->at[1];
}

static inline void ask(ahead *next, int64_t bytes)
{
    const int piece = next->at[0] >= next->end[0];
    const char *at = next->at[piece], *to = bytes < next->end[piece] - at ? at + bytes : next->end[piece];
    for (; at < to; at += 64) __builtin_prefetch(at, 0, 2);
    next->at[piece] = at;
}

/* The first query of key/value head i that sees position p, which may be the end of them. */
static int64_t first_that_sees(const group *a, int64_t i, int64_t p)
{
    return i * a->each + larger(p - a->first, 0) * a->heads;
}

/* The results of one chunk. */
static void decode_chunk(const decode_call *c, const group *a, int64_t chunk, partial *into)
{
    real room[TILE * WIDEST] __attribute__((aligned(64))),
        weights[QUERIES * TILE] __attribute__((aligned(64)));
    /* Positions at a time: a few where memory is what takes time. */
    const bool few = a->each <= 2 * ROWS;
    const int64_t k_step = few ? COLUMNS : TILE, v_step = few ? 2 * COLUMNS : TILE,
                  asked = a->kv * (TILE / k_step + a->each + TILE / v_step);
    for (int64_t e = 0; e < a->queries; e++) {
        into->highest[e] = -(real)INFINITY;
        into->sum[e] = 0;
        memset(into->values[e], 0, (size_t)c->Dv * sizeof *room);
    }
    const int64_t last = smaller(a->position[a->queries - 1], (chunk + 1) * CHUNK - 1);
    for (int64_t p = chunk * CHUNK; p <= last; p += TILE) {
        const int64_t count = smaller(TILE, last + 1 - p);
        ahead next = {{NULL, NULL}, {NULL, NULL}};
        ahead_add(&next, 0, c, a, c->k, p + TILE);
        int64_t k_stride, v_stride;
        const real *k = tile_of(c, c->k, a->sequence, p, count, a->g * c->D, a->kv * c->D, room, &k_stride),
                   *v = k;
        if (c->v == c->k) {
            v_stride = k_stride;
        } else {
            v = tile_of(c, c->v, a->sequence, p, count, a->g * c->Dv, a->kv * c->Dv,
                        room + TILE * a->kv * c->D, &v_stride);
            ahead_add(&next, 1, c, a, c->v, p + TILE);
        }
        const int64_t bytes = ahead_bytes(&next) / asked + 64;
        for (int64_t i = 0; i < a->kv; i++) {
            const int64_t from = first_that_sees(a, i, p), end = (i + 1) * a->each;
            for (int64_t s = 0; s < count; s += k_step) {
                ask(&next, bytes);
                dots(end - from, weights + from * TILE + s, TILE, a->query + from,
                     k + i * c->D + s * k_stride, k_stride, smaller(k_step, count - s), c->D);
            }
            for (int64_t e = from; e < end; e++) {
                ask(&next, bytes);
                soften(weights + e * TILE, a->position[e] + 1 - p, c->scale, into->highest + e, into->sum + e,
                       into->values[e], c->Dv);
            }
            for (int64_t s = 0; s < count; s += v_step) {
                ask(&next, bytes);
                weigh(c, a, p + s, smaller(v_step, count - s), first_that_sees(a, i, p + s), end, weights + s,
                      into, v + i * c->Dv + s * v_stride, v_stride);
            }
        }
    }
}

#endif
