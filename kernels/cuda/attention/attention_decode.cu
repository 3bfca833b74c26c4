/* Attention of a pass's rows over the cached positions of their sequences: FlashDecoding (Dao and others
 * 2023) with tiles as FlashMLA's, paged (Kwon and others 2023, arXiv:2309.06180).
 *
 * The rows that read one key/value head of one sequence, its tokens times H/G query heads each, are cut into
 * units of 16 or 32. A block takes a unit and a range of positions. It keeps the queries in shared memory
 * and walks the tiles of the range, which cp.async brings into a ring of one or two stages. Where values are
 * the front of keys, as in absorbed MLA, a tile is there once and is both: every byte of the cache is read
 * once for all heads of a unit. A turn, for a tile of 64 positions:
 *
 *     scores    warp w: those of positions 8w to 8w+7, for all rows of the unit, and their largest
 *     barrier
 *     weights   warp w: exp(score - largest so far) of the same, to shared memory
 *     barrier
 *     values    warp w: adds weights times values for columns of its own, of all rows
 *
 * with the largest score, the sum of weights and the sum of values kept as in flash
 * (attention_flash_forward.cu), so that what a block ends with are partial results: with one range they are
 * the result, else they go to scratch in fp32, and combine_ranges adds them up in the order of the positions.
 * Values of more columns than the warps of a block have registers for are left to further blocks, which
 * compute the scores again.
 *
 * Keys and values that the cache holds in another type than `act` arrive as they are, while the tile before
 * them is computed, and every thread then converts what it has itself copied. Keys so wide that a block has
 * no room for the queries beside a tile of 16 leave them in memory.
 *
 * How many ranges there are follows from the shapes, the device and the room in scratch, so that the last
 * bits of a row may depend on the pass that it is in; the same pass gives the same bits. */
#include "kernels/cuda/attention_decode.h"
#include "kernels/cuda/attention/attention_decode_products.h"
#include <type_traits>

namespace
{

struct problem {
    const int32_t *start, *length, *table; /* of ragged */
    int sequences, pages /* of a row of the table */, page;
    int H, G, group /* query heads per key head */, Dv;
    float scale;

    act *out;
    int64_t out_row, out_head; /* strides */
    const act *q;
    int64_t q_row, q_head;
    bool q_vectors, q_tile; /* rows as decode_cache's; whether shared memory has room for them */

    decode_cache k, v;
    bool apart; /* values are not the front of the keys */

    int positions, stages; /* of a tile; of the ring */
    int range;             /* positions, whole tiles */
    int chunks;            /* blocks that share the columns of the values */
    int64_t rows;          /* N*H: of partial results of one range */
    float *sums;           /* (ranges,N,H,Dv) of weighted values, or NULL: one range */
    float2 *weights;       /* (ranges,N,H): largest score, sum of weights */
};

/* Rows of one sequence, by their number m there: query m % group of the head's group, of token m / group. */
struct unit {
    int sequence, first /* m */, count, tokens;
};

/* Finds the block's unit of `size` rows; the lanes of a warp search together. */
__device__ __forceinline__ bool find_unit(unit *u, const problem &p, int size)
{
    const int lane = threadIdx.x % WARP;
    int left = blockIdx.x; /* units before it, among those not looked at yet */
    for (int base = 0; base < p.sequences; base += WARP) {
        const int i = base + lane, tokens = i < p.sequences ? p.start[i + 1] - p.start[i] : 0,
                  units = (tokens * p.group + size - 1) / size;
        int until = units;
#pragma unroll
        for (int step = 1; step < WARP; step *= 2) {
            const int before = __shfl_up_sync(~0u, until, step);
            if (lane >= step) until += before;
        }
        const unsigned after = __ballot_sync(~0u, left < until);
        if (after) {
            const int found = __ffs((int)after) - 1;
            u->sequence = base + found;
            u->first = (left - __shfl_sync(~0u, until - units, found)) * size;
            u->tokens = __shfl_sync(~0u, tokens, found);
            u->count = min(size, u->tokens * p.group - u->first);
            return true;
        }
        left -= __shfl_sync(~0u, until, WARP - 1);
    }
    return false;
}

/* Shared memory: the queries and the weights, then the ring's stages of keys, and of values where they are
 * apart, then the same as it is in memory where it has to be converted. */
__host__ __device__ inline int kept_elements(const problem &p, int strips)
{
    return strips * 16 * ((p.q_tile ? p.k.padded : 0) + DECODE_POSITIONS);
}
__host__ __device__ inline int stage_elements(const problem &p)
{
    return p.positions * (p.k.padded + p.v.padded);
}
inline int64_t shared_bytes(const problem &p, int strips)
{
    const int64_t elements = kept_elements(p, strips) + (int64_t)p.stages * stage_elements(p);
    return elements * (int64_t)sizeof(act) + p.positions * (p.k.raw + p.v.raw);
}

/* The reductions of a row over the lanes that share it. */
__device__ __forceinline__ float row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ __forceinline__ float row_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

/* Blocks that a multiprocessor should hold at a time: all of its registers. f32, and queries that are not in
 * a tile, would spill some. */
template <bool TILE> struct multiprocessor {
    enum { BLOCKS = TILE && ACT_TYPE == BF16 ? 2 : 1 };
};

/* TILE: the queries are in shared memory. grid: units, ranges, heads G times chunks of value columns */
template <int STRIPS, int COLUMNS, bool TILE>
static __global__ void __launch_bounds__(DECODE_THREADS, multiprocessor<TILE>::BLOCKS) decode(const problem p)
{
    constexpr int ROWS = STRIPS * 16;
    DYN_SHARED(act, queries);
    SHARED(float, of_warp, [DECODE_WARPS][ROWS]);
    act *const weights = queries + (TILE ? ROWS * p.k.padded : 0), *const ring =
                                                                       queries + kept_elements(p, STRIPS);
    unsigned char *const raw_keys = (unsigned char *)(ring + p.stages * stage_elements(p)),
                         *const raw_values = raw_keys + p.positions * p.k.raw;
    unit u;
    if (!find_unit(&u, p, ROWS)) return;
    const int g = blockIdx.z / p.chunks, chunk = blockIdx.z % p.chunks, warp = threadIdx.x / WARP;
    const int column = (chunk * DECODE_WARPS + warp) * COLUMNS; /* of the values: this warp's first */
    const int start = p.start[u.sequence], length = p.length[u.sequence], past = length - u.tokens;
    const int32_t *table = p.table + (int64_t)u.sequence * p.pages;
    /* What the unit's rows see: positions up to `seen`, all of them those up to `common`. */
    const int common = past + u.first / p.group + 1, seen = past + (u.first + u.count - 1) / p.group + 1;
    const int from = blockIdx.y * p.range, to = min(from + p.range, seen);

    /* Element offsets of a row of the unit in q and out, and where its partial results lie. */
    const auto token_of = [&](int m) { return start + (u.first + m) / p.group; };
    const auto head_of = [&](int m) { return g * p.group + (u.first + m) % p.group; };

    const auto query_of = [&](int m) {
        return m < u.count ? p.q + token_of(m) * p.q_row + head_of(m) * p.q_head : NULL;
    };
    std::conditional_t<TILE, decode_tile_queries, decode_memory_queries<STRIPS>> q;
    if constexpr (TILE) {
        q = {queries, p.k.padded};
        for (int m = warp; m < ROWS; m += DECODE_WARPS)
            decode_load_row(queries, p.k.padded, m, query_of(m), p.k.width, p.q_vectors);
    } else {
        q.width = p.k.width;
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                q.row[s][half] = query_of(s * 16 + half * 8 + flash_lane_row());
    }
    const auto keys_of = [&](int at) {
        return ring + (at - from) / p.positions % p.stages * stage_elements(p);
    };
    const auto values_of = [&](int at) { return keys_of(at) + (p.apart ? p.positions * p.k.padded : 0); };
    float k_scale = 1, v_scale = 1;
    const auto load_tile = [&](int at) {
        if (at < to) {
            k_scale = decode_load_tile(keys_of(at), raw_keys, p.positions, p.k, g * p.k.width, table, p.page,
                                       at, length);
            if (p.apart)
                v_scale = decode_load_tile(values_of(at), raw_values, p.positions, p.v, g * p.v.width, table,
                                           p.page, at, length);
        }
        cp_async_commit();
    };
    const auto convert_tile = [&](int at) {
        decode_convert_tile(keys_of(at), raw_keys, p.positions, p.k, k_scale, at, length);
        if (p.apart) decode_convert_tile(values_of(at), raw_values, p.positions, p.v, v_scale, at, length);
    };

    float highest[STRIPS][2], sum[STRIPS][2], out[STRIPS][COLUMNS / 8][4];
    flash_clear<STRIPS, COLUMNS>(out);
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int half = 0; half < 2; half++) highest[s][half] = -INFINITY, sum[s][half] = 0;

    load_tile(from);
    for (int at = from; at < to; at += p.positions) {
        cp_async_wait<0>();
        __syncthreads(); /* the tile is there, and nobody reads the one before it any more */
        if (p.k.raw > 0) {
            convert_tile(at);
            load_tile(at + p.positions); /* over what this thread has just read */
            __syncthreads();
        } else if (p.stages == 2) {
            load_tile(at + p.positions);
        }

        /* The lanes of a row of the fragments have `position` and the one behind it. */
        const int position = at + warp * 8 + flash_lane_column();
        const bool working = warp * 8 < p.positions;
        float score[STRIPS][4];
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int e = 0; e < 4; e++) score[s][e] = 0;
        if (working) decode_scores<STRIPS>(score, q, keys_of(at), p.k.padded, warp * 8);
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int m = s * 16 + half * 8 + flash_lane_row();
                if (!working || at + p.positions > common) {
                    const int sees = working && m < u.count ? past + (u.first + m) / p.group : -1;
#pragma unroll
                    for (int c = 0; c < 2; c++)
                        if (position + c > sees) score[s][2 * half + c] = -INFINITY;
                }
                const float high = row_max(fmaxf(score[s][2 * half], score[s][2 * half + 1]));
                if (flash_lane_column() == 0) of_warp[warp][m] = high;
            }
        __syncthreads(); /* all warps' largest scores are there */

#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int m = s * 16 + half * 8 + flash_lane_row();
                float high = of_warp[0][m];
#pragma unroll
                for (int w = 1; w < DECODE_WARPS; w++) high = fmaxf(high, of_warp[w][m]);
                const float now = fmaxf(highest[s][half], high * p.scale), top = now == -INFINITY ? 0 : now;
                const float shrink = flash_exp(highest[s][half] - top);
                highest[s][half] = now;
                const float low = flash_exp(fmaf(score[s][2 * half], p.scale, -top)),
                            next = flash_exp(fmaf(score[s][2 * half + 1], p.scale, -top));
                sum[s][half] = sum[s][half] * shrink + low + next;
#pragma unroll
                for (int w = 0; w < COLUMNS / 8; w++) {
                    out[s][w][2 * half] *= shrink;
                    out[s][w][2 * half + 1] *= shrink;
                }
                if (working)
                    flash_store_pair(
                        decode_chunk(weights, DECODE_POSITIONS, m, (warp * 8 + flash_lane_column()) / VEC) +
                            flash_lane_column() % VEC,
                        low, next);
            }
        __syncthreads(); /* the weights are there */
        decode_values<STRIPS, COLUMNS>(out, weights, values_of(at), p.apart ? p.v.padded : p.k.padded,
                                       p.positions, column, p.Dv);
        if (p.k.raw == 0 && p.stages == 1) {
            __syncthreads();
            load_tile(at + p.positions);
        }
    }
    cp_async_wait<0>(); /* of a range behind all that the unit sees: its queries */

    /* The sum of a row's weights: of the lanes, then of the warps. */
    __syncthreads();
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float part = row_sum(sum[s][half]);
            if (flash_lane_column() == 0) of_warp[warp][s * 16 + half * 8 + flash_lane_row()] = part;
        }
    __syncthreads();
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int m = s * 16 + half * 8 + flash_lane_row();
            if (m >= u.count) continue;
            float whole = of_warp[0][m];
#pragma unroll
            for (int w = 1; w < DECODE_WARPS; w++) whole += of_warp[w][m];
            const int64_t row = blockIdx.y * p.rows + (int64_t)token_of(m) * p.H + head_of(m);
            if (p.sums && column == 0 && flash_lane_column() == 0)
                p.weights[row] = make_float2(highest[s][half], whole);
            const float factor = p.sums ? 1 : 1 / whole;
            act *const to_out = p.out + token_of(m) * p.out_row + head_of(m) * p.out_head;
#pragma unroll
            for (int w = 0; w < COLUMNS / 8; w++)
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    const int e = column + w * 8 + flash_lane_column() + c;
                    if (e >= p.Dv) continue;
                    const float x = out[s][w][2 * half + c] * factor;
                    if (p.sums)
                        p.sums[row * p.Dv + e] = x;
                    else
                        to_out[e] = to_act(x);
                }
        }
}

/* A block for each row (n,h): the partial results of all ranges, in their order. Those that saw nothing are
 * zeros, whose largest score is minus infinity. */
static __global__ void __launch_bounds__(128) combine_ranges(const problem p, int ranges)
{
    const int64_t row = blockIdx.x;
    float highest = -INFINITY, whole = 0;
    for (int i = 0; i < ranges; i++) highest = fmaxf(highest, p.weights[i * p.rows + row].x);
    for (int i = 0; i < ranges; i++) {
        const float2 w = p.weights[i * p.rows + row];
        whole += w.y * expf(w.x - highest);
    }
    act *out = p.out + row / p.H * p.out_row + row % p.H * p.out_head;
    for (int e = threadIdx.x; e < p.Dv; e += 128) {
        float x = 0;
        for (int i = 0; i < ranges; i++) {
            const float2 w = p.weights[i * p.rows + row];
            x += expf(w.x - highest) * p.sums[(i * p.rows + row) * p.Dv + e];
        }
        out[e] = to_act(x / whole);
    }
}

/* ---- host ---------------------------------------------------------------------------------------------- */

int round_up(int64_t x, int unit) { return (int)((x + unit - 1) / unit * unit); }

decode_cache cache_of(const char *function, const cached *c, int64_t heads, int64_t width)
{
    const dtype type = c->rows.type;
    const int64_t shape[] = {c->rows.dim[0], heads * width};
    REQUIRE(type == F32 || type == BF16 || type == F8, "%s: a cache of %s", function, dtype_name(type));
    tensor_require_shape(function, &c->rows, type, 2, shape);
    REQUIRE_CONTIGUOUS(&c->rows);
    if (type == F8) tensor_require_shape(function, &c->scale, F32, 1, c->rows.dim);
    decode_cache x = {};
    x.rows = c->rows.data;
    x.scale = type == F8 ? (const float *)c->scale.data : NULL;
    x.type = type;
    x.row = (int)shape[1];
    x.width = (int)width;
    x.padded = round_up(width, DECODE_UNIT);
    const int bytes = (int)dtype_bytes(type), pack = 16 / bytes > VEC ? 16 / bytes : VEC;
    x.raw = type == ACT_TYPE ? 0 : round_up(width * bytes, 16);
    x.vectors = width % pack == 0 && aligned(c->rows.data);
    return x;
}

/* Chooses positions of a tile and stages, as many as fit a block of the device with units of so many strips;
 * false: none do. What is converted has its second stage in the memory of what is not yet. */
bool fit(problem *p, int strips, bool q_tile, const struct device *d)
{
    enum { STATIC = 1024 }; /* bytes, at most */
    p->q_tile = q_tile;
    for (p->positions = DECODE_POSITIONS; p->positions >= DECODE_POSITIONS_LEAST; p->positions /= 2)
        for (p->stages = p->k.raw ? 1 : 2; p->stages > 0; p->stages--)
            if (shared_bytes(*p, strips) + STATIC <= d->shared_bytes) return true;
    return false;
}

template <int STRIPS, int COLUMNS, bool TILE>
void launch(problem *p, const ragged *r, const tensor *scratch, stream *s)
{
    constexpr int ROWS = STRIPS * 16;
    const int64_t tiles = blocks_for(r->longest, p->positions);
    p->chunks = (int)blocks_for(p->Dv, DECODE_WARPS * COLUMNS);
    /* Every sequence may end in a unit that is not full. */
    const int64_t units = (r->N * p->group + r->sequences * (ROWS - 1)) / ROWS,
                  heads = (int64_t)p->G * p->chunks;
    /* Ranges: for two blocks on every multiprocessor, two tiles each at least, as scratch has room. */
    const int64_t busy = blocks_for(r->N * p->group, ROWS) * heads,
                  room = tensor_numel(scratch) / (p->rows * (p->Dv + 2));
    int64_t ranges = smaller(smaller(2 * s->device->multiprocessors / busy, blocks_for(tiles, 2)), room);
    if (ranges < 1) ranges = 1;
    p->range = (int)blocks_for(tiles, ranges) * p->positions;
    ranges = blocks_for(r->longest, p->range);
    if (ranges > 1) {
        REQUIRE((uintptr_t)scratch->data % sizeof *p->weights == 0, "scratch that is not aligned to a pair");
        p->weights = (float2 *)scratch->data;
        p->sums = (float *)scratch->data + 2 * ranges * p->rows;
    }
    REQUIRE(units <= INT32_MAX && ranges <= 65535 && heads <= 65535, "%lld units, %lld ranges",
            (long long)units, (long long)ranges);
    const auto kernel = decode<STRIPS, COLUMNS, TILE>;
    CUDA_OK(SIMT_LAUNCH(kernel, dim3((unsigned)units, (unsigned)ranges, (unsigned)heads),
                        dim3(DECODE_THREADS), (size_t)shared_bytes(*p, STRIPS), s->cuda, *p));
    if (ranges > 1) LAUNCH(combine_ranges, p->rows, 128, 0, s, *p, (int)ranges);
}

} // namespace

void CUDA(attention_decode)(const char *function, tensor *out, const tensor *q, const cached *k,
                            const cached *v, int64_t G, int64_t D, int64_t Dv, const ragged *r, double scale,
                            tensor *scratch, stream *s)
{
    const int64_t N = r->N, H = q->dim[1], sequences = r->sequences;
    const int64_t out_shape[] = {N, H, Dv}, q_shape[] = {N, H, D}, start_shape = sequences + 1,
                  table_shape[] = {sequences, r->table.dim[1]};
    tensor_require_shape(function, out, ACT_TYPE, 3, out_shape);
    tensor_require_shape(function, q, ACT_TYPE, 3, q_shape);
    tensor_require_shape(function, &r->start, I32, 1, &start_shape);
    tensor_require_shape(function, &r->length, I32, 1, &sequences);
    tensor_require_shape(function, &r->table, I32, 2, table_shape);
    tensor_require_shape(function, scratch, F32, 1, scratch->dim);
    REQUIRE_CONTIGUOUS(&r->start);
    REQUIRE_CONTIGUOUS(&r->length);
    REQUIRE_CONTIGUOUS(&r->table);
    REQUIRE_CONTIGUOUS(scratch);
    /* The running maximum of scaled scores is the scaled maximum. */
    REQUIRE(scale > 0, "%s: scale %g", function, scale);
    if (N == 0) return;
    problem p = {};
    p.start = (const int32_t *)r->start.data, p.length = (const int32_t *)r->length.data,
    p.table = (const int32_t *)r->table.data;
    p.sequences = (int)sequences, p.pages = (int)table_shape[1], p.page = (int)r->page;
    p.H = (int)H, p.G = (int)G, p.group = (int)(H / G), p.Dv = (int)Dv;
    p.scale = (float)scale;
    p.out = data<act>(out), p.out_row = out->stride[0], p.out_head = out->stride[1];
    p.q = data<const act>(q), p.q_row = q->stride[0], p.q_head = q->stride[1];
    p.q_vectors = aligned(p.q) && p.q_row % VEC == 0 && p.q_head % VEC == 0 && D % VEC == 0;
    p.k = cache_of(function, k, G, D);
    p.apart = v != NULL;
    if (v) {
        p.v = cache_of(function, v, G, Dv);
        REQUIRE(v->rows.type == k->rows.type, "%s: keys in %s, values in %s", function,
                dtype_name(k->rows.type), dtype_name(v->rows.type));
    }
    p.rows = N * H;
    const struct device *d = s->device;
    const int columns = Dv <= 16 * DECODE_WARPS ? 16 : Dv <= 32 * DECODE_WARPS ? 32 : 64;
#define DECODE(STRIPS)                                                                                       \
    if (fit(&p, STRIPS, true, d))                                                                            \
        return columns == 16   ? launch<STRIPS, 16, true>(&p, r, scratch, s)                                 \
               : columns == 32 ? launch<STRIPS, 32, true>(&p, r, scratch, s)                                 \
                               : launch<STRIPS, 64, true>(&p, r, scratch, s);
    /* Few rows per sequence need no second strip. */
    if (N * p.group > 16 * sequences) DECODE(2)
    DECODE(1)
    if (fit(&p, 1, false, d)) return launch<1, 64, false>(&p, r, scratch, s);
    REQUIRE(false, "%s: keys of %d elements and values of %d do not fit the %lld bytes of shared memory",
            function, p.k.width, p.Dv, (long long)d->shared_bytes);
#undef DECODE
}
