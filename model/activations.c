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
    recompute again;
} shape;

/* What is kept unless whole layers are computed again. */
static void kept_layout(layer_acts *l, const shape *z, arena *a)
{
    const dims *d = z->d;
    const dtype act = z->k->act, real = z->k->real;
    const int64_t N = z->B * z->T;
    const bool mla = d->kind == ATTENTION_MLA;
    l->attn_rstd = arena_tensor(a, real, "attn_rstd", N);
    l->q = arena_tensor(a, act, "q", N, mla ? d->H * (d->Dn + d->Dr) : d->H * d->D);
    l->heads = arena_tensor(a, act, "heads", N, d->H * (mla ? d->Dv : d->D));
    l->lse = arena_tensor(a, real, "lse", z->B, d->H, z->T);
    l->mid = arena_tensor(a, act, "mid", N, d->C);
    l->mlp_rstd = arena_tensor(a, real, "mlp_rstd", N);
    l->gate = arena_tensor(a, act, "gate", N, d->F);
    l->up = arena_tensor(a, act, "up", N, d->F);
    if (mla) {
        if (d->Rq) {
            l->q_latent = arena_tensor(a, act, "q_latent", N, d->Rq);
            l->q_rstd = arena_tensor(a, real, "q_rstd", N);
        }
        l->kv_a = arena_tensor(a, act, "kv_a", N, d->R + d->Dr);
        l->kv_rstd = arena_tensor(a, real, "kv_rstd", N);
    } else {
        l->k = arena_tensor(a, act, "k", N, d->G * d->D);
        l->v = arena_tensor(a, act, "v", N, d->G * d->D);
    }
}

/* What is kept only where nothing is computed again. */
static void cheap_layout(layer_acts *l, const shape *z, arena *a)
{
    const dims *d = z->d;
    const dtype act = z->k->act;
    const int64_t N = z->B * z->T;
    const bool lasts = z->use == FORWARD_AND_BACKWARD && z->again != RECOMPUTE_LIGHT;
    l->attn_h = arena_tensor(a, act, "attn_h", N, d->C);
    l->mlp_h = lasts ? arena_tensor(a, act, "mlp_h", N, d->C) : l->attn_h;
    l->act = arena_tensor(a, act, "act", N, d->F);
    if (d->kind != ATTENTION_MLA) return;
    if (d->Rq) l->q_normed = arena_tensor(a, act, "q_normed", N, d->Rq);
    l->kv_normed = arena_tensor(a, act, "kv_normed", N, d->R);
    l->kv = arena_tensor(a, act, "kv", N, d->H * (d->Dn + d->Dv));
    l->keys = arena_tensor(a, act, "keys", N, d->H * (d->Dn + d->Dr));
}

/* A layer takes over the memory of the first one where it has none of its own. */
static void layers_layout(layer_acts *layer, const shape *z, arena *a)
{
    const int64_t count = z->use == FORWARD_AND_BACKWARD ? z->d->L : 1;
    for (int64_t i = 0; i < count; i++) {
        layer_acts *l = &layer[i];
        *l = layer[0];
        l->x = arena_tensor(a, z->k->act, "x", z->B * z->T, z->d->C);
        if (i == 0 || z->again < RECOMPUTE_LAYER) kept_layout(l, z, a);
        if (i == 0 || z->again < RECOMPUTE_LIGHT) cheap_layout(l, z, a);
    }
}

static layer_scratch scratch_layout(const shape *z, arena *a)
{
    const dims *d = z->d;
    const dtype act = z->k->act;
    const int64_t N = z->B * z->T;
    const bool mla = d->kind == ATTENTION_MLA, backward = z->use == FORWARD_AND_BACKWARD;
    layer_scratch s = {.delta = arena_tensor(a, act, "delta", N, d->C)};
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
    layers_layout(x->layer, z, a);
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
                       .recompute = z->again,
                       .layer = memory_new(z->d->L, sizeof *x->layer, "%lld layers", (long long)z->d->L),
                       .memory = {.name = "activations", .device = z->k->device}};
    arena size = {.name = "activations"};
    layout(x, z, &size);
    return size.used;
}

int64_t activations_bytes(const dims *d, const ops *k, int64_t B, int64_t T, activations_use use,
                          recompute again)
{
    activations x;
    const int64_t bytes = measure(&x, &(shape){d, k, B, T, use, again});
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

void activations_init(activations *a, const dims *d, const ops *k, int64_t B, int64_t T, activations_use use,
                      recompute again)
{
    const shape z = {d, k, B, T, use, again};
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
