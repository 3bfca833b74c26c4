/* The memory of a pass and how it is laid out. The code of the layout runs twice, on an arena that counts and
 * on the real one. With a cache, keys and values are not part of it: before each pass the layers are given
 * views of the cache's rows. */
#include "model/activations.h"
#include "base/memory.h"
#include <stdlib.h>

/* At most this many logits exist at a time: 128 MiB as float. With fewer rows the head's products get slower;
 * a device, on which every chunk reads and writes the gradient of the whole head, gets this many rows at
 * least. */
enum { LOGIT_ELEMENTS = 1 << 25, DEVICE_ROWS = 1024 };

/* All that the layout depends on. */
typedef struct shape {
    const dims *d;
    const ops *k;
    int64_t B, T;
    activations_use use;
} shape;

static layer_acts layer_layout(const shape *z, arena *a)
{
    const dims *d = z->d;
    const dtype act = z->k->act, real = z->k->real;
    const int64_t N = z->B * z->T;
    const bool mla = d->kind == ATTENTION_MLA;
    layer_acts l = {
        .x = arena_tensor(a, act, "x", N, d->C),
        .attn_rstd = arena_tensor(a, real, "attn_rstd", N),
        .q = arena_tensor(a, act, "q", N, mla ? d->H * (d->Dn + d->Dr) : d->H * d->D),
        .heads = arena_tensor(a, act, "heads", N, d->H * (mla ? d->Dv : d->D)),
        .lse = arena_tensor(a, real, "lse", z->B, d->H, z->T),
        .mid = arena_tensor(a, act, "mid", N, d->C),
        .mlp_rstd = arena_tensor(a, real, "mlp_rstd", N),
        .gate = arena_tensor(a, act, "gate", N, d->F),
        .up = arena_tensor(a, act, "up", N, d->F),
    };
    if (mla) {
        if (d->Rq) {
            l.q_latent = arena_tensor(a, act, "q_latent", N, d->Rq);
            l.q_rstd = arena_tensor(a, real, "q_rstd", N);
        }
    }
    if (z->use == FORWARD_CACHED) return l;
    const layer_keys keys = layer_keys_layout(d, z->k, N, a);
    l.kv_a = keys.kv_a, l.k = keys.k, l.v = keys.v;
    if (mla) l.kv_rstd = arena_tensor(a, real, "kv_rstd", N);
    return l;
}

static layer_scratch scratch_layout(const shape *z, arena *a)
{
    const dims *d = z->d;
    const dtype act = z->k->act;
    const int64_t N = z->B * z->T;
    const bool mla = d->kind == ATTENTION_MLA, backward = z->use == FORWARD_AND_BACKWARD;
    layer_scratch s = {
        .h = arena_tensor(a, act, "h", N, d->C),
        .delta = arena_tensor(a, act, "delta", N, d->C),
        .act = arena_tensor(a, act, "act", N, d->F),
    };
    if (mla) {
        if (d->Rq) s.q_normed = arena_tensor(a, act, "q_normed", N, d->Rq);
    }
    if (z->use != FORWARD_CACHED) s.expanded = expanded_keys_layout(d, z->k, N, a);
    if (!backward) return s;
    s.dh = arena_tensor(a, act, "dh", N, d->C);
    s.dheads = arena_tensor(a, act, "dheads", N, d->H * (mla ? d->Dv : d->D));
    s.dact = arena_tensor(a, act, "dact", N, d->F);
    s.dup = arena_tensor(a, act, "dup", N, d->F);
    s.dq = arena_tensor(a, act, "dq", N, mla ? d->H * (d->Dn + d->Dr) : d->H * d->D);
    if (mla) {
        if (d->Rq) {
            s.dq_latent = arena_tensor(a, act, "dq_latent", N, d->Rq);
            s.dq_normed = arena_tensor(a, act, "dq_normed", N, d->Rq);
        }
        s.dkv_a = arena_tensor(a, act, "dkv_a", N, d->R + d->Dr);
        s.dkv_normed = arena_tensor(a, act, "dkv_normed", N, d->R);
        s.dkv = arena_tensor(a, act, "dkv", N, d->H * (d->Dn + d->Dv));
        s.dk = arena_tensor(a, act, "dk", N, d->H * (d->Dn + d->Dr));
    } else {
        s.dk = arena_tensor(a, act, "dk", N, d->G * d->D);
        s.dv = arena_tensor(a, act, "dv", N, d->G * d->D);
    }
    return s;
}

/* Rows of a chunk of the head: as many as fit, in chunks of equal size. */
static int64_t logit_rows(const dims *d, const ops *k, int64_t N)
{
    const int64_t least = k->device ? DEVICE_ROWS : 1, fit = LOGIT_ELEMENTS / d->V,
                  most = fit > least ? fit : least, chunks = (N + most - 1) / most;
    return (N + chunks - 1) / chunks;
}

static void layout(activations *x, const shape *z, arena *a)
{
    const dims *d = z->d;
    const dtype act = z->k->act, real = z->k->real;
    const int64_t N = z->B * z->T;
    x->tokens = arena_tensor(a, I32, "tokens", N);
    x->targets = arena_tensor(a, I32, "targets", N);
    x->first = arena_tensor(a, I32, "first", z->B, z->T);
    if (z->use != FORWARD_CACHED) angles_layout(&x->cosine, &x->sine, d, z->k, z->T, a);
    x->position = arena_tensor(a, I32, "position", z->B, z->T);
    const int64_t kept = z->use == FORWARD_AND_BACKWARD ? d->L : 1;
    for (int64_t l = 0; l < kept; l++) x->layer[l] = layer_layout(z, a);
    if (z->use == FORWARD_CACHED)
        for (int64_t l = 1; l < d->L; l++) x->layer[l] = x->layer[0];
    x->last = arena_tensor(a, act, "last", N, d->C);
    x->last_rstd = arena_tensor(a, real, "last_rstd", N);
    x->hidden = arena_tensor(a, act, "hidden", N, d->C);
    x->loss = arena_tensor(a, real, "loss", N);
    x->loss_sum = arena_tensor(a, F64, "loss_sum", 1);
    x->logits = arena_tensor(a, real, "logits", logit_rows(d, z->k, N), d->V);
    if (z->use == FORWARD_AND_BACKWARD) x->dx = arena_tensor(a, act, "dx", N, d->C);
    x->s = scratch_layout(z, a);
    x->dhidden = x->s.dh;
}

/* Fills in all but the memory; returns how many bytes of that it takes. */
static int64_t measure(activations *x, const shape *z)
{
    *x = (activations){.B = z->B,
                       .T = z->T,
                       .use = z->use,
                       .layer = memory_new(z->d->L, sizeof *x->layer, "%lld layers", (long long)z->d->L),
                       .memory = {.name = "activations", .device = z->k->device}};
    arena size = {.name = "activations"};
    layout(x, z, &size);
    return size.used;
}

int64_t activations_bytes(const dims *d, const ops *k, int64_t B, int64_t T, activations_use use)
{
    activations x;
    const int64_t bytes = measure(&x, &(shape){d, k, B, T, use});
    free(x.layer);
    return bytes;
}

/* The positions from `from` on, in every sequence. */
static void positions_upload(activations *a, const ops *k, int64_t from)
{
    int32_t *position = memory_new(a->B * a->T, sizeof *position, "positions");
    for (int64_t n = 0; n < a->B * a->T; n++) position[n] = (int32_t)(from + n % a->T);
    k->upload_i32(&a->position, position, k->stream);
    free(position);
}

static void reserve(activations *a, const shape *z)
{
    const int64_t bytes = measure(a, z);
    arena_reserve(&a->memory, bytes);
    layout(a, z, &a->memory);
}

void activations_init(activations *a, const dims *d, const ops *k, int64_t B, int64_t T, activations_use use)
{
    REQUIRE(use != FORWARD_CACHED, "there is no cache");
    reserve(a, &(shape){d, k, B, T, use});
    angles_upload(&a->cosine, &a->sine, d, k);
    positions_upload(a, k, 0);
}

void activations_init_cached(activations *a, const dims *d, const ops *k, int64_t T, kv_cache *cache)
{
    REQUIRE(d->L == cache->L, "a cache of %lld layers for a model of %lld", (long long)cache->L,
            (long long)d->L);
    reserve(a, &(shape){d, k, 1, T, FORWARD_CACHED});
    a->cache = cache;
    a->cosine = cache->cosine;
    a->sine = cache->sine;
}

/* The first S rows of a tensor that the model has. */
static tensor rows_until(const tensor *t, int64_t S) { return t->rank ? tensor_rows(t, 0, S) : *t; }

void activations_continue(activations *a, const ops *k)
{
    kv_cache *c = a->cache;
    if (!c) return;
    const int64_t past = c->length, S = past + a->T;
    REQUIRE(S <= c->capacity, "%lld positions behind %lld in a cache for %lld", (long long)a->T,
            (long long)past, (long long)c->capacity);
    for (int64_t l = 0; l < c->L; l++) {
        layer_acts *to = &a->layer[l];
        const layer_keys *from = &c->layer[l];
        to->kv_a = rows_until(&from->kv_a, S);
        to->k = rows_until(&from->k, S);
        to->v = rows_until(&from->v, S);
        to->kv_rstd = rows_until(&c->kv_rstd, S);
    }
    a->s.expanded = (expanded_keys){.kv_normed = rows_until(&c->expanded.kv_normed, S),
                                    .kv = rows_until(&c->expanded.kv, S),
                                    .k = rows_until(&c->expanded.k, S)};
    positions_upload(a, k, past);
    c->length = S;
}

void activations_free(activations *a)
{
    free(a->layer);
    arena_release(&a->memory);
    *a = (activations){0};
}
