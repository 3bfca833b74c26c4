/* Flash attention, forward (Dao 2023, arXiv:2307.08691, algorithm 1).
 *
 * A block owns a tile of query rows of one head. It keeps them in shared memory and walks the tiles of keys
 * and values that they see. The scores of a tile exist in registers only. For every row three things are kept
 * of the keys so far: the largest scaled score m (`highest`), the sum l of exp(score - m) (`sum`), and the
 * sum o of exp(score - m) times the value (`out`). A tile with scaled scores s and values v changes them by
 * the online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867), where `shrink` is exp(m - m'):
 *
 *     m' = max(m, s)
 *     l' = l exp(m - m') + sum(exp(s - m'))
 *     o' = o exp(m - m') + sum(exp(s - m') v)
 *
 * In the end the row's output is o / l. Its log-sum-exp, m + log(l), is kept: backward gets the weights from
 * it again.
 *
 * Counts for a tile of M queries and N keys, bf16: 2 M N (D + Dv) flops for 2 N (D + Dv) bytes brought in, so
 * M flops per byte: M = 128 asks for 2.4 TB/s from the second-level cache at the 312 Tflop/s of an A100,
 * which has about twice that. Out of shared memory an ldmatrix of 512 bytes takes 4 cycles of a
 * multiprocessor, and an mma 8 cycles of one of its four tensor cores, so that two mma per ldmatrix are
 * break-even; with two strips of rows per warp a fragment of keys or values is used twice:
 *
 *     D, Dv      strips  warps  queries  keys   mma per ldmatrix         kept + stage, KiB
 *     96, 64     2       4      128      64     (96+64) / (36+16) = 3.1  24 + 20
 *     128, 64    2       4      128      64     (128+64) / (48+16) = 3.0 32 + 24
 *     192, 128   2       4      128      32     (96+64) / (48+16) = 2.5  48 + 20
 *     320, 256   1       4      64       32     (80+64) / (60+32) = 1.6  40 + 36
 *
 * Registers decide the rest: outputs take STRIPS Dv/2 of a thread, scores STRIPS KEYS/2; (320, 256) has no
 * room for a second strip (256 + 32), (192, 128) none for 64 keys (128 + 64, and operands). All leave two
 * blocks of four warps on a multiprocessor of sm_80 and sm_90; on sm_89 and sm_120, whose tensor cores are
 * half as fast, (96, 64) leaves two and the others one. With f32 everything is two times larger and nothing
 * fast: small tiles. */
#include "kernels/cuda/attention/attention_flash_products.h"

namespace
{

template <int D, int DV> struct sizes;
#ifdef STORAGE_BF16
template <> struct sizes<96, 64> {
    enum { STRIPS = 2, WARPS = 4, KEYS = 64 };
};
template <> struct sizes<128, 64> {
    enum { STRIPS = 2, WARPS = 4, KEYS = 64 };
};
template <> struct sizes<192, 128> {
    enum { STRIPS = 2, WARPS = 4, KEYS = 32 };
};
template <> struct sizes<320, 256> {
    enum { STRIPS = 1, WARPS = 4, KEYS = 32 };
};
#else
template <int D, int DV> struct sizes {
    enum { STRIPS = 1, WARPS = 2, KEYS = 16 };
};
#endif

template <int D, int DV> struct layout : sizes<D, DV> {
    using size = sizes<D, DV>;
    enum {
        THREADS = size::WARPS * WARP,
        WARP_ROWS = 16 * size::STRIPS,
        QUERIES = size::WARPS * WARP_ROWS,
        KEPT = QUERIES * D,                /* elements of shared memory: the queries, */
        STAGE = (int)size::KEYS * (D + DV) /* then for each stage keys and values */
    };
};

/* The ring's groups of copies are k0 v0 k1 v1 ...; keys are awaited before the scores and replaced after
 * them, values awaited before the product with the weights and replaced in the next turn. With one stage the
 * values arrive while scores are computed and the next keys while outputs are; with two each has one turn
 * more. */
template <int D, int DV>
static __global__ void __launch_bounds__(layout<D, DV>::THREADS, FLASH_BLOCKS)
    flash_forward(const flash_problem p, const int stages)
{
    using tiles = layout<D, DV>;
    constexpr int STRIPS = tiles::STRIPS, KEYS = tiles::KEYS, THREADS = tiles::THREADS;
    DYN_SHARED(act, shared);
    act *const ring = shared + tiles::KEPT;
    /* The last rows see the most keys and come first. */
    const int b = blockIdx.z, h = blockIdx.y, q0 = (gridDim.x - 1 - blockIdx.x) * tiles::QUERIES;
    const flash_rows q = flash_rows_of(p.q, b, h, p.T), k = flash_rows_of(p.k, b, h / p.group, p.S),
                     v = flash_rows_of(p.v, b, h / p.group, p.S);
    const int32_t *first = p.first + (int64_t)b * p.T;
    const int begin = first[q0] / KEYS, end = (p.past + min(q0 + tiles::QUERIES, p.T) - 1) / KEYS + 1;

    const auto keys_of = [&](int j) { return ring + (j - begin) % stages * tiles::STAGE; };
    const auto load_keys = [&](int j) {
        if (j < end) flash_load_tile<KEYS, D, THREADS>(keys_of(j), k, j * KEYS);
        cp_async_commit();
    };
    const auto load_values = [&](int j) {
        if (j < end) flash_load_tile<KEYS, DV, THREADS>(keys_of(j) + KEYS * D, v, j * KEYS);
        cp_async_commit();
    };
    flash_load_tile<tiles::QUERIES, D, THREADS>(shared, q, q0);
    load_keys(begin);
    if (stages == 2) {
        load_values(begin);
        load_keys(begin + 1);
    }

    /* This warp's rows and, among the keys, their positions; then what this thread's rows see. Rows behind
     * the last one are computed as if they were there, and not stored. */
    const int warp_row = threadIdx.x / WARP * tiles::WARP_ROWS, row0 = q0 + warp_row,
              row1 = min(row0 + tiles::WARP_ROWS, p.T) - 1, w0 = p.past + row0, w1 = p.past + row1;
    const int first0 = first[min(row0, p.T - 1)], first1 = first[row1];
    int from[STRIPS][2];
    float highest[STRIPS][2], sum[STRIPS][2];
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            from[s][half] = first[min(row0 + s * 16 + half * 8 + flash_lane_row(), p.T - 1)];
            highest[s][half] = -INFINITY;
            sum[s][half] = 0;
        }
    float out[STRIPS][DV / 8][4];
    flash_clear<STRIPS, DV>(out);

    for (int j = begin; j < end; j++) {
        const int k0 = j * KEYS;
        const bool some = w0 <= w1 && k0 <= w1 && first0 < k0 + KEYS;
        flash_wait<2>(stages);
        __syncthreads(); /* the keys are there, and nobody reads the values before them any more */
        load_values(j + stages - 1);

        float score[STRIPS][KEYS / 8][4];
        if (some) {
            flash_clear<STRIPS, KEYS>(score);
            flash_multiply_rows<STRIPS, KEYS, D>(score, shared, warp_row, keys_of(j));
        }
        flash_wait<2>(stages);
        __syncthreads(); /* the values are there, and nobody reads the keys any more */
        load_keys(j + stages);
        if (!some) continue;

        const bool all = k0 + KEYS - 1 <= w0 && first1 <= k0;
#pragma unroll
        for (int s = 0; s < STRIPS; s++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int t = w0 + s * 16 + half * 8 + flash_lane_row();
                float high = -INFINITY;
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int c = 0; c < 2; c++) {
                        float &x = score[s][n][2 * half + c];
                        if (!all && !flash_sees(t, from[s][half], k0 + n * 8 + flash_lane_column() + c))
                            x = -INFINITY;
                        high = fmaxf(high, x);
                    }
                high = fmaxf(high, __shfl_xor_sync(~0u, high, 1));
                high = fmaxf(high, __shfl_xor_sync(~0u, high, 2));
                /* The maximum is kept as the rounded product that every weight is relative to. It stays minus
                 * infinity in rows that have seen no key yet, of a document that starts later. */
                const float now = fmaxf(highest[s][half], high * p.scale), top = now == -INFINITY ? 0 : now;
                const float shrink = flash_exp(highest[s][half] - top);
                highest[s][half] = now;
                float part = 0;
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int c = 0; c < 2; c++) {
                        float &x = score[s][n][2 * half + c];
                        x = flash_exp(fmaf(x, p.scale, -top));
                        part += x;
                    }
                sum[s][half] = sum[s][half] * shrink + part;
#pragma unroll
                for (int n = 0; n < DV / 8; n++) {
                    out[s][n][2 * half] *= shrink;
                    out[s][n][2 * half + 1] *= shrink;
                }
            }
        flash_multiply_columns<STRIPS, KEYS, DV>(out, score, keys_of(j) + KEYS * D);
    }

    float inverse[STRIPS][2];
#pragma unroll
    for (int s = 0; s < STRIPS; s++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            /* So far every lane has the sum of its own columns. */
            float whole = sum[s][half];
            whole += __shfl_xor_sync(~0u, whole, 1);
            whole += __shfl_xor_sync(~0u, whole, 2);
            inverse[s][half] = 1 / whole;
            const int t = row0 + s * 16 + half * 8 + flash_lane_row();
            if (t < p.T && flash_lane_column() == 0)
                p.lse[((int64_t)b * p.H + h) * p.T + t] = highest[s][half] + logf(whole);
        }
    flash_store_rows<STRIPS, DV>(flash_rows_of(p.out, b, h, p.T), row0, out, inverse);
}

template <int D, int DV> void launch(const flash_problem &p, stream *s)
{
    using tiles = layout<D, DV>;
    const int64_t unit = sizeof(act), kept = tiles::KEPT * unit, stage = tiles::STAGE * unit;
    const int stages = flash_stages(s->device, kept, stage);
    const auto kernel = flash_forward<D, DV>;
    const dim3 grid((unsigned)blocks_for(p.T, tiles::QUERIES), (unsigned)p.H, (unsigned)p.B);
    CUDA_OK(
        SIMT_LAUNCH(kernel, grid, dim3(tiles::THREADS), (size_t)(kept + stages * stage), s->cuda, p, stages));
}

} // namespace

void CUDA(attention_flash_forward)(tensor *out, tensor *lse, const tensor *q, const tensor *k,
                                   const tensor *v, const tensor *first, double scale, stream *s)
{
    const flash_problem p = flash_problem_of(__func__, out, lse, q, k, v, first, scale);
#define FLASH(size, values)                                                                                  \
    if (p.D <= size && p.Dv <= values) return launch<size, values>(p, s);
    FLASH_SIZES(FLASH)
#undef FLASH
    REQUIRE(false, "heads of %d and %d elements", p.D, p.Dv);
}

status CUDA(attention_flash_supports)(stream *s, const attention_shape *shape, message *why)
{
    (void)s; /* every size fits the smallest device */
#define FLASH(size, values)                                                                                  \
    if (shape->D <= size && shape->Dv <= values) return OK;
    FLASH_SIZES(FLASH)
#undef FLASH
    return fail(why, ERR_USAGE, "it has heads of up to 320 elements, and values of up to 256");
}
