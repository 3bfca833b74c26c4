/* Sums over ranks on a device, in the orders of base/comm_sums.c. Both kernels are bound by memory: rounding
 * reads 4 and writes 2 bytes an element, a sum reads each part once and writes 4. A thread takes V elements
 * of all parts. The tree's levels are registers, and how far a part carries is the same for all threads. */
#include "base/cuda/comm_sums.h"
#include "base/cuda/vectors.h"

enum { THREADS = 256, EACH = 4, FEW = 4, MANY = 11 /* levels of the tree */ };

template <int V>
static __global__ void __launch_bounds__(THREADS) round_all(__nv_bfloat16 *half, const float *full, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float x[V];
    load(x, full + i);
    store(half + i, x);
}

void device_sums_round(void *half, const float *full, int64_t n, stream *s)
{
    __nv_bfloat16 *const to = (__nv_bfloat16 *)half;
    const int64_t whole = in_vectors(n, EACH, aligned(to, full));
    LAUNCH(round_all<EACH>, blocks_for(whole / EACH, THREADS), THREADS, 0, s, to, full, whole);
    LAUNCH(round_all<1>, blocks_for(n - whole, THREADS), THREADS, 0, s, to + whole, full + whole, n - whole);
}

/* The parts of a sum. */
template <class Sent> struct parts_of {
    const float *own;
    const Sent *received; /* (count-1, n) */
    int rank, count;
};

/* V elements of part p, from i on. */
template <int V, class Sent>
static __device__ inline void load_part(float (&x)[V], const parts_of<Sent> &all, int p, int64_t i, int64_t n)
{
    if (p != all.rank) {
        load(x, all.received + (p < all.rank ? p : p - 1) * n + i);
        return;
    }
    load(x, all.own + i);
    for (int j = 0; j < V; j++) {
        Sent as_sent;
        from_float(&as_sent, x[j]);
        x[j] = to_float(as_sent);
    }
}

template <int V> static __device__ inline void add(float (&sum)[V], const float (&x)[V])
{
    for (int j = 0; j < V; j++) sum[j] += x[j];
}

template <int V, class Sent>
static __global__ void __launch_bounds__(THREADS) sum_in_order(float *out, parts_of<Sent> all, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float sum[V], x[V];
    load_part(sum, all, 0, i, n);
    for (int p = 1; p < all.count; p++) {
        load_part(x, all, p, i, n);
        add(sum, x);
    }
    store(out + i, sum);
}

/* Brings part p to its level, with what it meets on the levels below. A loop over levels would not be
 * unrolled always, and then they lie in memory. */
template <int L, int LEVELS, int V>
static __device__ __forceinline__ void carry(float (&level)[LEVELS][V], float (&x)[V], int p)
{
    if (p >> L & 1) {
        add(x, level[L]);
        if constexpr (L + 1 < LEVELS) carry<L + 1>(level, x, p);
    } else {
        for (int j = 0; j < V; j++) level[L][j] = x[j];
    }
}

template <int V, class Sent, int LEVELS>
static __global__ void __launch_bounds__(THREADS) sum_pairwise(float *out, parts_of<Sent> all, int64_t n)
{
    const int64_t i = thread_index() * V;
    if (i >= n) return;
    float level[LEVELS][V];
    for (int p = 0; p < all.count; p++) {
        float x[V];
        load_part(x, all, p, i, n);
        carry<0>(level, x, p);
    }
    /* The levels that are left, the smallest first. */
    float sum[V];
    bool first = true;
#pragma unroll
    for (int l = 0; l < LEVELS; l++) {
        if (!(all.count >> l & 1)) continue;
        for (int j = 0; j < V; j++) sum[j] = first ? level[l][j] : sum[j] + level[l][j];
        first = false;
    }
    store(out + i, sum);
}

template <int V, class Sent>
static void launch(float *out, const parts_of<Sent> &all, int64_t n, bool pairwise, stream *s)
{
    const int64_t blocks = blocks_for(n / V, THREADS);
    if (!pairwise)
        LAUNCH((sum_in_order<V, Sent>), blocks, THREADS, 0, s, out, all, n);
    else if (all.count < 1 << FEW) /* fewer registers: more blocks at a time */
        LAUNCH((sum_pairwise<V, Sent, FEW>), blocks, THREADS, 0, s, out, all, n);
    else
        LAUNCH((sum_pairwise<V, Sent, MANY>), blocks, THREADS, 0, s, out, all, n);
}

template <class Sent>
static void sum(float *out, const parts_of<Sent> &all, int64_t n, bool pairwise, stream *s)
{
    if (n % EACH == 0 && aligned(out, all.own, all.received))
        launch<EACH>(out, all, n, pairwise, s);
    else
        launch<1>(out, all, n, pairwise, s);
}

void device_sums(float *out, const float *own, const void *received, int rank, int parts, int64_t n,
                 const reduction *how, stream *s)
{
    REQUIRE(rank >= 0 && rank < parts && parts < 1 << MANY, "part %d of %d, expected fewer than %d", rank,
            parts, 1 << MANY);
    if (how->sent == BF16)
        sum(out, parts_of<__nv_bfloat16>{own, (const __nv_bfloat16 *)received, rank, parts}, n, how->pairwise,
            s);
    else
        sum(out, parts_of<float>{own, (const float *)received, rank, parts}, n, how->pairwise, s);
}
