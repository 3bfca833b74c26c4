/* Flash attention, backward (Dao 2023, arXiv:2307.08691, algorithm 2). With the scores computed again and
 * P = exp(scores - lse), the weights:
 *     dv += P^T dout     dP = dout v^T     dS = P * (dP - delta), delta = sum(dout * out) of the row
 *     dk += scale dS^T q                   dq += scale dS k
 *
 * dk and dv are sums over queries, dq is one over keys. The paper walks the tiles once and adds to dq by
 * atomic additions, in an order that changes. Here results are the same every time, so each sum has a kernel
 * that owns it. `row_statistics` puts lse and delta of every query beside each other. `flash_backward_keys`
 * owns a tile of keys and walks the queries that see them, of all query heads of the group in turn.
 * `flash_backward_queries` owns a tile of queries and walks their keys. That is seven products of tiles
 * instead of five. There are as many keys as queries.
 *
 * The kernel for keys computes scores with a row per key, S^T = k q^T, so that P^T and dS^T come out as the
 * left operands of the products that follow. Both kernels keep 16 rows for each of four warps in shared
 * memory and bring in N rows of the other side, twice where there is room. Per tile, bf16: 2 64 N (2 D + 2
 * Dv) flops for keys, 2 64 N (2 D + Dv) for queries, for 2 N (D + Dv) bytes: 128 and some 102 flops per byte,
 * as in the forward pass. With n = N/16, and mma per ldmatrix counted as there (4 n / (1 + 2 n) for keys):
 *
 *     D, Dv      N    mma per ldmatrix, keys  queries    kept + stage, KiB
 *     96, 64     64   1.8                     1.7        20 + 20
 *     128, 64    32   1.6                     1.5        24 + 12
 *     192, 128   32   1.6                     1.5        40 + 20
 *     320, 256   16   1.3                     1.2        72 + 18
 *
 * The left operand is read from shared memory again for every tile: the sums of dk and dv, (D + Dv)/2
 * registers of 255, leave no room to keep it, nor for more queries at (192, 128). At (320, 256) they do not
 * fit together: dv and dk are two launches, eight products, and 16 rows are what fits beside the kept ones in
 * 99 KiB. */
#include "kernels/cuda/attention/attention_flash_products.h"

namespace
{

template <int D, int DV> struct sizes;
#ifdef STORAGE_BF16
template <> struct sizes<96, 64> {
    enum { WARPS = 4, STREAM = 64, APART = 0 };
};
template <> struct sizes<128, 64> {
    /* A stream of 64 would do but for sm_100 and sm_120, where ptxas spills two registers. */
    enum { WARPS = 4, STREAM = 32, APART = 0 };
};
template <> struct sizes<192, 128> {
    enum { WARPS = 4, STREAM = 32, APART = 0 };
};
template <> struct sizes<320, 256> {
    enum { WARPS = 4, STREAM = 16, APART = 1 };
};
#else
template <int D, int DV> struct sizes {
    enum { WARPS = 2, STREAM = 16, APART = 0 };
};
template <> struct sizes<320, 256> {
    enum { WARPS = 1, STREAM = 16, APART = 1 };
};
#endif

/* What the backward pass needs of every query beside its row: 64 of them are a multiple of every tile. */
struct statistics {
    float lse, delta;
};
enum { STATISTICS_ROWS = 64, ROWS_PER_BLOCK = 4 };

struct gradients {
    flash_heads dq, dk, dv, dout;
    statistics *rows; /* (sequences, head_count, padded), zeros behind T */
    int head_count, padded;
};

template <int D, int DV> struct layout : sizes<D, DV> {
    using size = sizes<D, DV>;
    enum {
        THREADS = size::WARPS * WARP,
        KEPT_ROWS = size::WARPS * 16,
        /* In elements: rows of widths D and DV next to each other, kept and streamed. */
        KEPT = KEPT_ROWS * (D + DV),
        STAGE = (int)size::STREAM * (D + DV),
        STATISTICS = (int)size::STREAM * (int)(sizeof(statistics) / sizeof(act))
    };
};

/* ---- delta --------------------------------------------------------------------------------------------- */

/* A warp per row. */
static __global__ void __launch_bounds__(ROWS_PER_BLOCK *WARP)
    row_statistics(const flash_problem p, const gradients d)
{
    const int t = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP, h = blockIdx.y, b = blockIdx.z;
    statistics *to = d.rows + ((int64_t)b * d.head_count + h) * d.padded + t;
    float delta = 0;
    if (t < p.T) {
        const act *out = p.out.data + b * p.out.batch + h * p.out.head + t * p.out.position,
                  *dout = d.dout.data + b * d.dout.batch + h * d.dout.head + t * d.dout.position;
        for (int e = threadIdx.x % WARP; e < p.Dv; e += WARP) delta += to_float(out[e]) * to_float(dout[e]);
    }
    delta = warp_sum(delta);
    if (threadIdx.x % WARP == 0)
        *to = t < p.T ? statistics{p.lse[((int64_t)b * p.H + h) * p.T + t], delta} : statistics{0, 0};
}

/* ---- the two passes ------------------------------------------------------------------------------------ */

/* Makes tile n of a ring ready and starts loading what comes next. */
template <class load_function>
__device__ __forceinline__ void turn(int n, int stages, const load_function &load)
{
    if (stages == 1) {
        __syncthreads(); /* nobody reads the tile before any more */
        load(n);
    }
    cp_async_wait<0>();
    __syncthreads(); /* this one is there, and nobody reads the one before */
    if (stages == 2) load(n + 1);
}

/* dk and dv, or one of them where the registers do not hold the sums of both, of a tile of keys. */
template <int D, int DV, bool DK, bool DVALUES>
static __global__ void __launch_bounds__(layout<D, DV>::THREADS, FLASH_BLOCKS)
    flash_backward_keys(const flash_problem p, const gradients d, const int stages)
{
    using tiles = layout<D, DV>;
    constexpr int STREAM = tiles::STREAM, ROWS = tiles::KEPT_ROWS, THREADS = tiles::THREADS;
    DYN_SHARED(act, shared);
    act *const keys = shared, *const values = keys + ROWS * D, *const ring = shared + tiles::KEPT;
    const int b = blockIdx.z, g = blockIdx.y, k0 = blockIdx.x * ROWS;
    const int32_t *first = p.first + (int64_t)b * p.T;
    const int k1 = min(k0 + ROWS, p.T) - 1;
    const int begin = k0 / STREAM,
              count = (flash_positions_until(first, k1, p.T, k1) - 1) / STREAM + 1 - begin,
              turns = count * p.group;

    const auto queries_of = [&](int n) { return ring + n % stages * (tiles::STAGE + tiles::STATISTICS); };
    const auto load = [&](int n) {
        if (n < turns) {
            const int h = g * p.group + n / count, q0 = (begin + n % count) * STREAM;
            act *to = queries_of(n);
            flash_load_tile<STREAM, D, THREADS>(to, flash_rows_of(p.q, b, h, p.T), q0);
            flash_load_tile<STREAM, DV, THREADS>(to + STREAM * D, flash_rows_of(d.dout, b, h, p.T), q0);
            constexpr int PER = 16 / (int)sizeof(statistics);
            const statistics *from = d.rows + ((int64_t)b * d.head_count + h) * d.padded + q0;
            for (int i = threadIdx.x; i < STREAM / PER; i += THREADS)
                cp_async16(to + tiles::STAGE + i * VEC, from + i * PER);
        }
        cp_async_commit();
    };
    flash_load_tile<ROWS, D, THREADS>(keys, flash_rows_of(p.k, b, g, p.T), k0);
    if (DK) flash_load_tile<ROWS, DV, THREADS>(values, flash_rows_of(p.v, b, g, p.T), k0);
    if (stages == 2) load(0);

    const int warp_row = threadIdx.x / WARP * 16, w0 = k0 + warp_row, w1 = min(w0 + 16, p.T) - 1;
    float dk[1][D / 8][4], dv[1][DV / 8][4];
    if (DK) flash_clear<1, D>(dk);
    if (DVALUES) flash_clear<1, DV>(dv);

    for (int n = 0; n < turns; n++) {
        turn(n, stages, load);
        const int q0 = (begin + n % count) * STREAM, q1 = min(q0 + STREAM, p.T) - 1;
        if (w0 > w1 || q1 < w0) continue; /* no such keys, or no query sees them */
        const bool all = w1 <= q0 && first[q1] <= w0;
        act *const queries = queries_of(n), *const dout = queries + STREAM * D;
        const statistics *row = (const statistics *)(queries + tiles::STAGE);

        float weight[1][STREAM / 8][4];
        flash_clear<1, STREAM>(weight);
        flash_multiply_rows<1, STREAM, D>(weight, keys, warp_row, queries);
#pragma unroll
        for (int i = 0; i < STREAM / 8; i++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                const int column = i * 8 + flash_lane_column() + c, t = q0 + column;
                const int from = all ? 0 : first[min(t, p.T - 1)];
                const float lse = row[column].lse;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float &x = weight[0][i][2 * half + c];
                    const bool seen = all || flash_sees(t, from, w0 + half * 8 + flash_lane_row());
                    x = seen ? flash_exp(fmaf(x, p.scale, -lse)) : 0;
                }
            }
        if (DVALUES) flash_multiply_columns<1, STREAM, DV>(dv, weight, dout);
        if (DK) {
            float dweight[1][STREAM / 8][4];
            flash_clear<1, STREAM>(dweight);
            flash_multiply_rows<1, STREAM, DV>(dweight, values, warp_row, dout);
#pragma unroll
            for (int i = 0; i < STREAM / 8; i++)
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    const float delta = row[i * 8 + flash_lane_column() + c].delta;
                    weight[0][i][c] *= dweight[0][i][c] - delta;
                    weight[0][i][c + 2] *= dweight[0][i][c + 2] - delta;
                }
            flash_multiply_columns<1, STREAM, D>(dk, weight, queries);
        }
    }
    const float scale[1][2] = {{p.scale, p.scale}}, one[1][2] = {{1, 1}};
    if (DK) flash_store_rows<1, D>(flash_rows_of(d.dk, b, g, p.T), w0, dk, scale);
    if (DVALUES) flash_store_rows<1, DV>(flash_rows_of(d.dv, b, g, p.T), w0, dv, one);
}

/* dq of a tile of queries. */
template <int D, int DV>
static __global__ void __launch_bounds__(layout<D, DV>::THREADS, FLASH_BLOCKS)
    flash_backward_queries(const flash_problem p, const gradients d, const int stages)
{
    using tiles = layout<D, DV>;
    constexpr int STREAM = tiles::STREAM, ROWS = tiles::KEPT_ROWS, THREADS = tiles::THREADS;
    DYN_SHARED(act, shared);
    act *const queries = shared, *const dout = queries + ROWS * D, *const ring = shared + tiles::KEPT;
    const int b = blockIdx.z, h = blockIdx.y, q0 = (gridDim.x - 1 - blockIdx.x) * ROWS;
    const int32_t *first = p.first + (int64_t)b * p.T;
    const int begin = first[q0] / STREAM, turns = (min(q0 + ROWS, p.T) - 1) / STREAM + 1 - begin;

    const auto keys_of = [&](int n) { return ring + n % stages * tiles::STAGE; };
    const auto load = [&](int n) {
        if (n < turns) {
            const int k0 = (begin + n) * STREAM;
            flash_load_tile<STREAM, D, THREADS>(keys_of(n), flash_rows_of(p.k, b, h / p.group, p.T), k0);
            flash_load_tile<STREAM, DV, THREADS>(keys_of(n) + STREAM * D,
                                                 flash_rows_of(p.v, b, h / p.group, p.T), k0);
        }
        cp_async_commit();
    };
    flash_load_tile<ROWS, D, THREADS>(queries, flash_rows_of(p.q, b, h, p.T), q0);
    flash_load_tile<ROWS, DV, THREADS>(dout, flash_rows_of(d.dout, b, h, p.T), q0);
    if (stages == 2) load(0);

    const int warp_row = threadIdx.x / WARP * 16, w0 = q0 + warp_row, w1 = min(w0 + 16, p.T) - 1;
    const int first0 = first[min(w0, p.T - 1)], first1 = first[w1];
    int from[2];
    statistics row[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int t = w0 + half * 8 + flash_lane_row();
        from[half] = first[min(t, p.T - 1)];
        row[half] = d.rows[((int64_t)b * d.head_count + h) * d.padded + t];
    }
    float dq[1][D / 8][4];
    flash_clear<1, D>(dq);

    for (int n = 0; n < turns; n++) {
        turn(n, stages, load);
        const int k0 = (begin + n) * STREAM;
        if (w0 > w1 || k0 > w1 || first0 >= k0 + STREAM) continue;
        const bool all = k0 + STREAM - 1 <= w0 && first1 <= k0;
        act *const keys = keys_of(n), *const values = keys + STREAM * D;

        float weight[1][STREAM / 8][4], dweight[1][STREAM / 8][4];
        flash_clear<1, STREAM>(weight);
        flash_multiply_rows<1, STREAM, D>(weight, queries, warp_row, keys);
        flash_clear<1, STREAM>(dweight);
        flash_multiply_rows<1, STREAM, DV>(dweight, dout, warp_row, values);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int t = w0 + half * 8 + flash_lane_row();
#pragma unroll
            for (int i = 0; i < STREAM / 8; i++)
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    float &x = weight[0][i][2 * half + c];
                    const bool seen = all || flash_sees(t, from[half], k0 + i * 8 + flash_lane_column() + c);
                    x = seen ? flash_exp(fmaf(x, p.scale, -row[half].lse)) : 0;
                    x *= dweight[0][i][2 * half + c] - row[half].delta;
                }
        }
        flash_multiply_columns<1, STREAM, D>(dq, weight, keys);
    }
    const float scale[1][2] = {{p.scale, p.scale}};
    flash_store_rows<1, D>(flash_rows_of(d.dq, b, h, p.T), w0, dq, scale);
}

/* ---- launches ------------------------------------------------------------------------------------------ */

/* Sequences b.. and key heads g.. of a problem, with their gradients. */
void move(flash_heads *x, int b, int h) { x->data += b * x->batch + h * x->head; }
void move(flash_problem *p, gradients *d, int b, int g)
{
    const int h = g * p->group;
    move(&p->q, b, h), move(&p->out, b, h), move(&d->dq, b, h), move(&d->dout, b, h);
    move(&p->k, b, g), move(&p->v, b, g), move(&d->dk, b, g), move(&d->dv, b, g);
    p->first += (int64_t)b * p->T;
    p->lse += ((int64_t)b * p->H + h) * p->T;
}

template <int D, int DV>
void launch(const flash_problem &p, const gradients &d, int sequences, int groups, stream *s)
{
    using tiles = layout<D, DV>;
    static_assert(STATISTICS_ROWS % tiles::STREAM == 0 && STATISTICS_ROWS % tiles::KEPT_ROWS == 0, "padding");
    const int64_t unit = sizeof(act), kept = tiles::KEPT * unit, stage = tiles::STAGE * unit;
    const int64_t query_stage = stage + tiles::STATISTICS * unit;
    const dim3 block(tiles::THREADS);
    const unsigned tile_count = (unsigned)blocks_for(p.T, tiles::KEPT_ROWS);

    const dim3 key_grid(tile_count, (unsigned)groups, (unsigned)sequences);
    int stages = flash_stages(s->device, kept, query_stage);
    size_t bytes = (size_t)(kept + stages * query_stage);
    if constexpr (tiles::APART) {
        const auto dv_kernel = flash_backward_keys<D, DV, false, true>,
                   dk_kernel = flash_backward_keys<D, DV, true, false>;
        CUDA_OK(SIMT_LAUNCH(dv_kernel, key_grid, block, bytes, s->cuda, p, d, stages));
        CUDA_OK(SIMT_LAUNCH(dk_kernel, key_grid, block, bytes, s->cuda, p, d, stages));
    } else {
        const auto key_kernel = flash_backward_keys<D, DV, true, true>;
        CUDA_OK(SIMT_LAUNCH(key_kernel, key_grid, block, bytes, s->cuda, p, d, stages));
    }

    const dim3 query_grid(tile_count, (unsigned)(groups * p.group), (unsigned)sequences);
    const auto query_kernel = flash_backward_queries<D, DV>;
    stages = flash_stages(s->device, kept, stage);
    bytes = (size_t)(kept + stages * stage);
    CUDA_OK(SIMT_LAUNCH(query_kernel, query_grid, block, bytes, s->cuda, p, d, stages));
}

void backward(const flash_problem &p, const gradients &d, int sequences, int groups, stream *s)
{
    const dim3 grid((unsigned)(d.padded / ROWS_PER_BLOCK), (unsigned)d.head_count, (unsigned)sequences);
    CUDA_OK(SIMT_LAUNCH(row_statistics, grid, dim3(ROWS_PER_BLOCK * WARP), 0, s->cuda, p, d));
#define FLASH(size, values)                                                                                  \
    if (p.D <= size && p.Dv <= values) return launch<size, values>(p, d, sequences, groups, s);
    FLASH_SIZES(FLASH)
#undef FLASH
    REQUIRE(false, "heads of %d and %d elements", p.D, p.Dv);
}

} // namespace

void CUDA(attention_flash_backward)(tensor *dq, tensor *dk, tensor *dv, const tensor *dout, const tensor *out,
                                    const tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                                    const tensor *first, double scale, stream *s)
{
    const flash_problem p = flash_problem_of(__func__, out, lse, q, k, v, first, scale);
    REQUIRE(p.S == p.T, "%s: %d queries for %d keys", __func__, p.T, p.S);
    tensor_require_shape(__func__, dq, ACT_TYPE, 4, q->dim);
    tensor_require_shape(__func__, dk, ACT_TYPE, 4, k->dim);
    tensor_require_shape(__func__, dv, ACT_TYPE, 4, v->dim);
    tensor_require_shape(__func__, dout, ACT_TYPE, 4, out->dim);
    gradients d = {};
    d.dq = flash_heads_of(dq), d.dk = flash_heads_of(dk), d.dv = flash_heads_of(dv);
    d.dout = flash_heads_of(dout);
    d.padded = (int)blocks_for(p.T, STATISTICS_ROWS) * STATISTICS_ROWS;

    /* As many sequences at a time, or heads of one, as the workspace has room for the statistics of. */
    const int64_t group_bytes = (int64_t)p.group * d.padded * (int64_t)sizeof(statistics),
                  room = s->workspace_bytes / group_bytes;
    const int groups = (int)(room < p.G ? (room > 0 ? room : 1) : p.G),
              sequences = (int)(room / p.G < p.B ? (room / p.G > 0 ? room / p.G : 1) : p.B);
    d.rows = workspace<statistics>(s, (int64_t)sequences * groups * p.group * d.padded);
    for (int b = 0; b < p.B; b += sequences)
        for (int g = 0; g < p.G; g += groups) {
            flash_problem part = p;
            gradients part_d = d;
            move(&part, &part_d, b, g);
            const int part_groups = p.G - g < groups ? p.G - g : groups;
            part_d.head_count = part_groups * p.group;
            backward(part, part_d, p.B - b < sequences ? p.B - b : sequences, part_groups, s);
        }
}
