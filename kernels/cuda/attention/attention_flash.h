/* Private to attention_flash_*.cu: what flash attention's forward and backward share. The views of
 * the tensors, tiles of them in shared memory, who sees whom, and how much shared memory a launch takes; the
 * products of tiles are in attention_flash_products.h.
 *
 * A block of threads keeps a tile of rows (queries, or keys in the pass for dk and dv) and walks the tiles of
 * the other side, which cp.async brings into a ring of one or two stages. A warp owns 16 of the kept rows, or
 * STRIPS times 16, and everything that is computed of them: scores, weights and sums stay in its registers,
 * and the only barriers are those of the ring.
 *
 * Every kernel is compiled for a few sizes of heads (FLASH_SIZES); smaller ones are padded with zeros in
 * shared memory. Sums of a row, counted in registers of a thread, decide what fits: a tile of 16 rows and n
 * columns takes n/2 of the 255. */
#ifndef REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_FLASH_H
#define REMLA_KERNELS_CUDA_ATTENTION_ATTENTION_FLASH_H
#include "kernels/cuda/attention.h"
#include "kernels/cuda/kernel.h"
#include "kernels/cuda/heads.h"
#include "kernels/cuda/mma.h"

/* (D, Dv) that kernels exist for, smallest first: MLA's of the models that are converted (64 + 32, 64 + 64,
 * 128 + 64, 256 + 64). GQA's (64, 64) and (128, 128) run as the next larger. */
#define FLASH_SIZES(F) F(96, 64) F(128, 64) F(192, 128) F(320, 256)

/* Internal linkage: the compilations for f32 and bf16 have types of the same names. */
namespace
{

/* A (B,T,heads,width) tensor. */
struct flash_heads : heads {
    int width;
    bool vectors; /* rows start at multiples of 16 bytes and are multiples of them long */
};

struct flash_problem {
    int B, T, S, H, G, D, Dv;
    int past;  /* S - T: the position of the first query */
    int group; /* query heads per key head */
    float scale;
    const int32_t *first; /* (B,T) */
    float *lse;           /* (B,H,T) */
    flash_heads q, k, v, out;
};

/* ---- host: arguments ----------------------------------------------------------------------------------- */

inline flash_heads flash_heads_of(const tensor *x)
{
    const heads at = heads_of(x);
    return flash_heads{{at}, (int)x->dim[3], heads_aligned(at) && x->dim[3] % VEC == 0};
}

/* Checks the arguments that forward and backward share. What `first` says is not looked at: it is on the
 * device. */
inline flash_problem flash_problem_of(const char *function, const tensor *out, const tensor *lse,
                                      const tensor *q, const tensor *k, const tensor *v, const tensor *first,
                                      double scale)
{
    const int64_t B = q->dim[0], T = q->dim[1], S = k->dim[1], H = q->dim[2], G = k->dim[2], D = q->dim[3],
                  Dv = v->dim[3];
    const int64_t q_shape[] = {B, T, H, D}, k_shape[] = {B, S, G, D}, v_shape[] = {B, S, G, Dv},
                  out_shape[] = {B, T, H, Dv}, lse_shape[] = {B, H, T}, first_shape[] = {B, T};
    tensor_require_shape(function, q, ACT_TYPE, 4, q_shape);
    tensor_require_shape(function, k, ACT_TYPE, 4, k_shape);
    tensor_require_shape(function, v, ACT_TYPE, 4, v_shape);
    tensor_require_shape(function, out, ACT_TYPE, 4, out_shape);
    tensor_require_shape(function, lse, F32, 3, lse_shape);
    tensor_require_shape(function, first, I32, 2, first_shape);
    REQUIRE(H % G == 0, "%s: %lld query heads for %lld key heads", function, (long long)H, (long long)G);
    REQUIRE(S >= T, "%s: %lld queries for %lld keys", function, (long long)T, (long long)S);
    /* The running maximum of scaled scores is the scaled maximum. */
    REQUIRE(scale > 0, "%s: scale %g", function, scale);
    REQUIRE_CONTIGUOUS(lse);
    REQUIRE_CONTIGUOUS(first);
    flash_problem p = {};
    p.B = (int)B, p.T = (int)T, p.S = (int)S, p.past = (int)(S - T), p.H = (int)H, p.G = (int)G, p.D = (int)D,
    p.Dv = (int)Dv;
    p.group = (int)(H / G);
    p.scale = (float)scale;
    p.first = (const int32_t *)first->data;
    p.lse = (float *)lse->data;
    p.q = flash_heads_of(q), p.k = flash_heads_of(k), p.v = flash_heads_of(v), p.out = flash_heads_of(out);
    return p;
}

/* Blocks that a multiprocessor should hold at a time: their registers, 128 threads of up to 255 of 65,536,
 * leave no room for more. Without the number ptxas spills some to make room for a third. */
constexpr int FLASH_BLOCKS = 2;

/* Returns how many stages of `stage` bytes a ring gets beside `kept` bytes: two when that leaves as many
 * blocks on a multiprocessor as one would. A block can have 99 KiB on sm_89 and sm_120, 163 on sm_80, 227 on
 * sm_90 and sm_100; a multiprocessor has 1 KiB more, and takes 1 KiB of every block. */
inline int flash_stages(const struct device *d, int64_t kept, int64_t stage)
{
    int64_t blocks[3];
    for (int stages = 1; stages <= 2; stages++) {
        const int64_t fit = (d->shared_bytes + 1024) / (kept + stages * stage + 1024);
        blocks[stages] = fit < FLASH_BLOCKS ? fit : FLASH_BLOCKS;
    }
    REQUIRE(blocks[1] > 0, "%lld bytes of shared memory per block are too few", (long long)d->shared_bytes);
    return blocks[2] == blocks[1] ? 2 : 1;
}

/* ---- device: tiles in shared memory -------------------------------------------------------------------- */

/* The rows of one head of one sequence. */
struct flash_rows {
    act *data;
    int64_t stride;
    int count, width;
    bool vectors;
};

__device__ __forceinline__ flash_rows flash_rows_of(const flash_heads &x, int b, int h, int T)
{
    return flash_rows{x.data + b * x.batch + h * x.head, x.position, T, x.width, x.vectors};
}

/* Returns the address of 16 bytes of a tile. Its rows are WIDTH elements, without gaps; the chunks of a row
 * are permuted with the row's number, so that the eight rows of an 8 x 8 matrix that ldmatrix reads lie in
 * different banks: rows that are a multiple of 128 bytes long all start in the same bank, rows of an odd
 * multiple of 64 bytes in two. f32 is not permuted, which would cost more registers than there are. */
template <int WIDTH> __device__ __forceinline__ act *flash_chunk(act *tile, int row, int chunk)
{
    constexpr int CHUNKS = WIDTH / VEC, PERIOD = CHUNKS % 8 == 0 ? 8 : 4;
    static_assert(CHUNKS % 4 == 0, "rows of a multiple of 64 bytes");
    const int turn = ACT_TYPE == F32 ? 0 : PERIOD == 8 ? row & 7 : row >> 1 & 3;
    /* Written so that the compiler sees that chunks a period apart differ by a constant. */
    return tile + row * WIDTH + ((chunk & -PERIOD) + ((chunk & (PERIOD - 1)) ^ turn)) * VEC;
}

/* Queues the copy of rows from, from + 1, ... into a tile of ROWS; what the tensor does not have is zero
 * there. */
template <int ROWS, int WIDTH, int THREADS>
__device__ __forceinline__ void flash_load_tile(act *tile, const flash_rows &x, int from)
{
    constexpr int CHUNKS = WIDTH / VEC;
#pragma unroll 1 /* the sums leave no registers for the addresses of several copies */
    for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
        const int row = i / CHUNKS, column = i % CHUNKS * VEC;
        act *to = flash_chunk<WIDTH>(tile, row, i % CHUNKS);
        const act *at = x.data + (from + row) * x.stride + column;
        if (from + row >= x.count || column >= x.width) {
            const float zeros[VEC] = {};
            store(to, zeros);
        } else if (x.vectors) {
            cp_async16(to, at);
        } else {
            for (int e = 0; e < VEC; e++) to[e] = column + e < x.width ? at[e] : to_act(0);
        }
    }
}

/* Waits for all but the newest groups of copies: those of a ring that is one stage, or two, ahead. */
template <int NEWEST> __device__ __forceinline__ void flash_wait(int stages)
{
    if (stages == 1)
        cp_async_wait<0>();
    else
        cp_async_wait<NEWEST>();
}

/* ---- device: who sees whom ----------------------------------------------------------------------------- */

/* A query sees the keys from its `first` to its own position. A tile of scores is computed when one of its
 * pairs may be visible, and masked pair by pair unless all are. `first` does not fall, so that the corners of
 * a tile decide. */
__device__ __forceinline__ bool flash_sees(int query, int first, int key)
{
    return first <= key && key <= query;
}

/* Counts the positions of a sequence that have first[t] <= key; those before `from` are known to. The lanes
 * of a warp search together. */
__device__ __forceinline__ int flash_positions_until(const int32_t *first, int from, int T, int key)
{
    int to = T; /* the answer is in [from, to] */
    while (from < to) {
        const int piece = (to - from + WARP - 1) / WARP;
        const int last = from + (threadIdx.x % WARP + 1) * piece - 1;
        const unsigned whole = __ballot_sync(~0u, last < to && first[last] <= key);
        from += __popc(whole) * piece;
        to = min(to, from + piece - 1);
    }
    return from;
}

} // namespace
#endif
