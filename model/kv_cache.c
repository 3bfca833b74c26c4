/* The memory of a cache. It is laid out twice, on an arena that counts and on the real one. Who writes and
 * reads it are the passes of activations that were made for it: their views of keys and values are views of
 * these (activations_continue). */
#include "model/kv_cache.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

layer_keys layer_keys_layout(const dims *d, const ops *k, int64_t rows, arena *a)
{
    if (d->kind == ATTENTION_MLA)
        return (layer_keys){.kv_a = arena_tensor(a, k->act, "kv_a", rows, d->R + d->Dr)};
    layer_keys keys = {.k = arena_tensor(a, k->act, "k", rows, d->G * d->D)};
    keys.v = arena_tensor(a, k->act, "v", rows, d->G * d->D);
    return keys;
}

expanded_keys expanded_keys_layout(const dims *d, const ops *k, int64_t rows, arena *a)
{
    expanded_keys e = {.kv_normed = {0}};
    if (d->kind != ATTENTION_MLA) return e;
    e.kv_normed = arena_tensor(a, k->act, "kv_normed", rows, d->R);
    e.kv = arena_tensor(a, k->act, "kv", rows, d->H * (d->Dn + d->Dv));
    e.k = arena_tensor(a, k->act, "k", rows, d->H * (d->Dn + d->Dr));
    return e;
}

static int64_t rotary_width(const dims *d) { return d->kind == ATTENTION_MLA ? d->Dr : d->D; }

void angles_layout(tensor *cosine, tensor *sine, const dims *d, const ops *k, int64_t positions, arena *a)
{
    *cosine = arena_tensor(a, k->real, "cosine", positions, rotary_width(d) / 2);
    *sine = arena_tensor(a, k->real, "sine", positions, rotary_width(d) / 2);
}

void angles_upload(tensor *cosine, tensor *sine, const dims *d, const ops *k)
{
    const int64_t positions = cosine->dim[0], half = cosine->dim[1];
    double *frequency = memory_new(half, sizeof *frequency, "frequencies");
    float *c = memory_new(2 * positions * half, sizeof *c, "angles"), *s = c + positions * half;
    rope_frequencies(&d->rope, 2 * half, frequency);
    for (int64_t t = 0; t < positions; t++)
        for (int64_t i = 0; i < half; i++) {
            c[t * half + i] = (float)cos((double)t * frequency[i]);
            s[t * half + i] = (float)sin((double)t * frequency[i]);
        }
    k->upload(cosine, c, k->stream);
    k->upload(sine, s, k->stream);
    free(frequency);
    free(c);
}

static void layout(kv_cache *c, const dims *d, const ops *k, arena *a)
{
    for (int64_t l = 0; l < c->L; l++) c->layer[l] = layer_keys_layout(d, k, c->capacity, a);
    c->expanded = expanded_keys_layout(d, k, c->capacity, a);
    c->kv_rstd = arena_tensor(a, k->real, "kv_rstd", c->capacity);
    angles_layout(&c->cosine, &c->sine, d, k, c->capacity, a);
}

void kv_cache_init(kv_cache *c, const dims *d, const ops *k, int64_t capacity)
{
    *c = (kv_cache){.capacity = capacity,
                    .L = d->L,
                    .layer = memory_new(d->L, sizeof *c->layer, "a cache of %lld layers", (long long)d->L),
                    .memory = {.name = "cache of keys and values", .device = k->device}};
    arena size = {.name = c->memory.name};
    layout(c, d, k, &size);
    arena_reserve(&c->memory, size.used);
    layout(c, d, k, &c->memory);
    angles_upload(&c->cosine, &c->sine, d, k);
}

void kv_cache_free(kv_cache *c)
{
    free(c->layer);
    arena_release(&c->memory);
    *c = (kv_cache){0};
}
