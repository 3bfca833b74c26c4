/* The keys of materialised MLA are copies: each head's own part beside the rotary part that all heads share.
 * Backward takes them apart again and sums the shared part over the heads, in float and in the order of the
 * heads. 2 sizeof(act) bytes per element of k (4 in bf16), either way; the shared part is read from the
 * caches in forward and hardly written in backward. A thread takes one vector of a copy, or one vector of the
 * sum and walks the heads: the lines of a head are whole for the 8 threads or more beside each other. */
#include "kernels/cuda/heads.h"

enum { THREADS = 256 };

/* to = from, (B,T,H,width). */
template <int V>
static __global__ void __launch_bounds__(THREADS)
    copy_heads(heads to, heads from, uint32_t num_threads, uint32_t T, uint32_t H, uint32_t width)
{
    const uint32_t thread = blockIdx.x * THREADS + threadIdx.x, each = width / V, head = thread / each;
    if (thread >= num_threads) return;
    const uint32_t n = head / H, h = head % H, i = thread % each * V;
    float x[V];
    load(x, head_at(from, n, h, T) + i);
    store(head_at(to, n, h, T) + i, x);
}

/* to (B,T,width) = the sum of from (B,T,H,width) over the heads. */
template <int V>
static __global__ void __launch_bounds__(THREADS)
    sum_heads(heads to, heads from, uint32_t num_threads, uint32_t T, uint32_t H, uint32_t width)
{
    const uint32_t thread = blockIdx.x * THREADS + threadIdx.x, each = width / V;
    if (thread >= num_threads) return;
    const uint32_t n = thread / each, i = thread % each * V;
    const act *at = head_at(from, n, 0, T) + i;
    float sum[V];
    for (int j = 0; j < V; j++) sum[j] = 0;
#pragma unroll 4
    for (uint32_t h = 0; h < H; h++) {
        float x[V];
        load(x, at + h * from.head);
        for (int j = 0; j < V; j++) sum[j] += x[j];
    }
    store(head_at(to, n, 0, T) + i, sum);
}

/* Heads [B,T,H] of a part of the keys. */
typedef struct part {
    int64_t B, T, H, width;
} part;

static bool in_whole_vectors(heads a, heads b, int64_t width)
{
    return heads_aligned(a) && heads_aligned(b) && width % VEC == 0;
}

static void copy(heads to, heads from, part p, stream *s)
{
    const bool vectors = in_whole_vectors(to, from, p.width);
    const uint32_t num_threads = heads_threads(p.B * p.T * p.H, p.width / (vectors ? VEC : 1));
    LAUNCH((vectors ? copy_heads<VEC> : copy_heads<1>), blocks_for(num_threads, THREADS), THREADS, 0, s, to,
           from, num_threads, (uint32_t)p.T, (uint32_t)p.H, (uint32_t)p.width);
}

static void sum(heads to, heads from, part p, stream *s)
{
    const bool vectors = in_whole_vectors(to, from, p.width);
    const uint32_t num_threads = heads_threads(p.B * p.T, p.width / (vectors ? VEC : 1));
    LAUNCH((vectors ? sum_heads<VEC> : sum_heads<1>), blocks_for(num_threads, THREADS), THREADS, 0, s, to,
           from, num_threads, (uint32_t)p.T, (uint32_t)p.H, (uint32_t)p.width);
}

void CUDA(mla_expand_forward)(tensor *k, const tensor *nope, const tensor *rotary, stream *s)
{
    const int64_t B = nope->dim[0], T = nope->dim[1], H = nope->dim[2], Dn = nope->dim[3],
                  Dr = rotary->dim[2];
    REQUIRE_SHAPE(k, ACT_TYPE, B, T, H, Dn + Dr);
    REQUIRE_SHAPE(nope, ACT_TYPE, B, T, H, Dn);
    REQUIRE_SHAPE(rotary, ACT_TYPE, B, T, Dr);
    const tensor own = tensor_slice(k, 0, Dn), shared = tensor_slice(k, Dn, Dr);
    copy(heads_of(&own), heads_of(nope), {B, T, H, Dn}, s);
    copy(heads_of(&shared), heads_of(rotary), {B, T, H, Dr}, s);
}

void CUDA(mla_expand_backward)(tensor *dnope, tensor *drotary, const tensor *dk, stream *s)
{
    const int64_t B = dnope->dim[0], T = dnope->dim[1], H = dnope->dim[2], Dn = dnope->dim[3],
                  Dr = drotary->dim[2];
    REQUIRE_SHAPE(dnope, ACT_TYPE, B, T, H, Dn);
    REQUIRE_SHAPE(drotary, ACT_TYPE, B, T, Dr);
    REQUIRE_SHAPE(dk, ACT_TYPE, B, T, H, Dn + Dr);
    const tensor own = tensor_slice(dk, 0, Dn), shared = tensor_slice(dk, Dn, Dr);
    copy(heads_of(dnope), heads_of(&own), {B, T, H, Dn}, s);
    sum(heads_of(drotary), heads_of(&shared), {B, T, H, Dr}, s);
}
