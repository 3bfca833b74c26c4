/* The memory of a pass and how it is laid out. The code of the layout runs twice, on an arena that counts and
 * on the real one. */
#include "model/activations.h"
#include "base/memory.h"
#include "model/angles.h"
#include <stdlib.h>

/* At most this many logits exist at a time: 128 MiB as float. With fewer rows the head's products get slower;
 * the ops say how many they want at least. */
enum { LOGIT_ELEMENTS = 1 << 25 };

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
        l.kv_a = arena_tensor(a, act, "kv_a", N, d->R + d->Dr);
        l.kv_rstd = arena_tensor(a, real, "kv_rstd", N);
    } else {
        l.k = arena_tensor(a, act, "k", N, d->G * d->D);
        l.v = arena_tensor(a, act, "v", N, d->G * d->D);
    }
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
        s.kv_normed = arena_tensor(a, act, "kv_normed", N, d->R);
        s.kv = arena_tensor(a, act, "kv", N, d->H * (d->Dn + d->Dv));
        s.k = arena_tensor(a, act, "k", N, d->H * (d->Dn + d->Dr));
    }
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
    const int64_t fit = LOGIT_ELEMENTS / d->V, most = fit > k->head_rows ? fit : k->head_rows,
                  chunks = (N + most - 1) / most;
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
    angles_layout(&x->cosine, &x->sine, d, z->k, z->T, a);
    x->position = arena_tensor(a, I32, "position", z->B, z->T);
    const int64_t kept = z->use == FORWARD_AND_BACKWARD ? d->L : 1;
    for (int64_t l = 0; l < kept; l++) x->layer[l] = layer_layout(z, a);
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

/* 0, 1, ... in every sequence. */
static void positions_upload(activations *a, const ops *k)
{
    int32_t *position = memory_new(a->B * a->T, sizeof *position, "positions");
    for (int64_t n = 0; n < a->B * a->T; n++) position[n] = (int32_t)(n % a->T);
    k->upload_i32(&a->position, position, k->stream);
    free(position);
}

void activations_init(activations *a, const dims *d, const ops *k, int64_t B, int64_t T, activations_use use)
{
    const shape z = {d, k, B, T, use};
    const int64_t bytes = measure(a, &z);
    arena_reserve(&a->memory, bytes);
    layout(a, &z, &a->memory);
    angles_upload(&a->cosine, &a->sine, d, k);
    positions_upload(a, k);
}

void activations_free(activations *a)
{
    free(a->layer);
    arena_release(&a->memory);
    *a = (activations){0};
}
