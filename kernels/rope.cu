/* Rotary position embedding, in place: (a, b) becomes (a cos - b sin, b cos + a sin); backward turns the
 * sine's sign. 2 sizeof(act) bytes per element (4 in bf16); the tables, 8 bytes for a pair, are read once per
 * head, from the caches. A thread takes a vector of pairs of one head: x may have many heads or, the rotary
 * key, a single one, and the grid is long enough for either. A kernel cannot stop the job at a position that
 * the tables do not have: the heads of its row become NaN. */
#include "kernels/cuda/heads.h"

enum { THREADS = 256 };

/* The first and second elements of W pairs of a head, from pair i on. */
template <int W, rope_layout LAYOUT>
static __device__ void read_pairs(float (&a)[W], float (&b)[W], const act *x, uint32_t i, uint32_t pairs)
{
    if (LAYOUT == ROPE_HALVES) {
        load(a, x + i);
        load(b, x + pairs + i);
    } else {
        float both[2 * W];
        if constexpr (W > 1)
            load(both, x + 2 * i);
        else
            for (int j = 0; j < 2; j++) both[j] = to_float(x[2 * i + j]);
        for (int j = 0; j < W; j++) a[j] = both[2 * j], b[j] = both[2 * j + 1];
    }
}

template <int W, rope_layout LAYOUT>
static __device__ void write_pairs(act *x, uint32_t i, uint32_t pairs, const float (&a)[W],
                                   const float (&b)[W])
{
    if (LAYOUT == ROPE_HALVES) {
        store(x + i, a);
        store(x + pairs + i, b);
    } else {
        float both[2 * W];
        for (int j = 0; j < W; j++) both[2 * j] = a[j], both[2 * j + 1] = b[j];
        if constexpr (W > 1)
            store(x + 2 * i, both);
        else
            for (int j = 0; j < 2; j++) x[2 * i + j] = to_act(both[j]);
    }
}

/* A thread takes W pairs of a head; pairs/W threads make a head, H heads a position. */
template <int W, rope_layout LAYOUT>
static __global__ void __launch_bounds__(THREADS)
    rotate(heads x, const float *cosine, const float *sine, const int32_t *position, uint32_t num_positions,
           float sign, uint32_t num_threads, uint32_t T, uint32_t H, uint32_t pairs)
{
    const uint32_t thread = blockIdx.x * THREADS + threadIdx.x, each = pairs / W, head = thread / each;
    if (thread >= num_threads) return;
    const uint32_t n = head / H, i = thread % each * W;
    act *at = head_at(x, n, head % H, T);
    const uint32_t row = (uint32_t)position[n];
    const bool known = row < num_positions;
    const int64_t angle = (int64_t)(known ? row : 0) * pairs + i;
    if (!known) sign = NAN;
    float a[W], b[W], c[W], d[W];
    read_pairs<W, LAYOUT>(a, b, at, i, pairs);
    load(c, cosine + angle);
    load(d, sine + angle);
    for (int j = 0; j < W; j++) {
        const float first = a[j] * c[j] - sign * d[j] * b[j];
        b[j] = b[j] * c[j] + sign * d[j] * a[j];
        a[j] = first;
    }
    write_pairs<W, LAYOUT>(at, i, pairs, a, b);
}

template <int W, rope_layout LAYOUT>
static void rotate_in(tensor *x, const tensor *cosine, const tensor *sine, const tensor *position, float sign,
                      stream *s)
{
    const int64_t T = x->dim[1], H = x->dim[2], pairs = x->dim[3] / 2;
    const uint32_t num_threads = heads_threads(x->dim[0] * T, H * pairs / W);
    LAUNCH((rotate<W, LAYOUT>), blocks_for(num_threads, THREADS), THREADS, 0, s, heads_of(x),
           data<float>(cosine), data<float>(sine), data<int32_t>(position), (uint32_t)cosine->dim[0], sign,
           num_threads, (uint32_t)T, (uint32_t)H, (uint32_t)pairs);
}

static void rotate_all(const char *function, tensor *x, const tensor *cosine, const tensor *sine,
                       const tensor *position, rope_layout layout, float sign, stream *s)
{
    const int64_t B = x->dim[0], T = x->dim[1], H = x->dim[2], pairs = x->dim[3] / 2, Tmax = cosine->dim[0];
    const int64_t shape[] = {B, T, H, 2 * pairs}, table[] = {Tmax, pairs};
    tensor_require_shape(function, x, ACT_TYPE, 4, shape);
    tensor_require_shape(function, cosine, F32, 2, table);
    tensor_require_shape(function, sine, F32, 2, table);
    tensor_require_shape(function, position, I32, 2, x->dim);
    REQUIRE_CONTIGUOUS(cosine);
    REQUIRE_CONTIGUOUS(sine);
    REQUIRE_CONTIGUOUS(position);
    const bool whole = heads_aligned(heads_of(x)) && aligned(data<float>(cosine), data<float>(sine));
    if (layout == ROPE_HALVES) {
        auto *run = whole && pairs % VEC == 0 ? rotate_in<VEC, ROPE_HALVES> : rotate_in<1, ROPE_HALVES>;
        run(x, cosine, sine, position, sign, s);
    } else {
        auto *run =
            whole && pairs % (VEC / 2) == 0 ? rotate_in<VEC / 2, ROPE_PAIRS> : rotate_in<1, ROPE_PAIRS>;
        run(x, cosine, sine, position, sign, s);
    }
}

void CUDA(rope_forward)(tensor *x, const tensor *cosine, const tensor *sine, const tensor *position,
                        rope_layout layout, stream *s)
{
    rotate_all(__func__, x, cosine, sine, position, layout, 1, s);
}

void CUDA(rope_backward)(tensor *dx, const tensor *cosine, const tensor *sine, const tensor *position,
                         rope_layout layout, stream *s)
{
    rotate_all(__func__, dx, cosine, sine, position, layout, -1, s);
}
