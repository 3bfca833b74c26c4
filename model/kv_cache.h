/* The keys and values that a sequence has behind it, so that a pass computes new tokens only. Every layer has
 * a row for each position: k and v (GQA), or the latent and the rotary key (MLA), which are fewer numbers.
 *
 * A pass over T tokens (activations_init_cached, then model_forward) writes T rows behind the `length` that
 * are there and attends over all of them. Reading a prompt is such a pass with length 0, each token after it
 * one with T = 1: two activations, one cache. What MLA expands from the latents is expanded anew for all
 * positions in every pass. */
#ifndef REMLA_MODEL_KV_CACHE_H
#define REMLA_MODEL_KV_CACHE_H
#include "base/arena.h"
#include "kernels/kernels.h"
#include "model/dims.h"

/* Holds what attention reads of a layer's positions. */
typedef struct layer_keys {
    tensor kv_a; /* MLA: (rows,R+Dr) the latent before its norm, then the rotary key, rotated */
    tensor k, v; /* GQA: (rows,G*D), k rotated */
} layer_keys;

/* MLA: what one layer after the other expands them to. */
typedef struct expanded_keys {
    tensor kv_normed; /* (rows,R) */
    tensor kv;        /* (rows,H*(Dn+Dv)) each head's part of keys, then its values */
    tensor k;         /* (rows,H*(Dn+Dr)) */
} expanded_keys;

/* Caches one sequence. */
typedef struct kv_cache {
    int64_t capacity; /* positions that it has room for */
    int64_t length;   /* positions that it holds; set to a smaller one to go back to it */
    int64_t L;
    layer_keys *layer; /* (L), of `capacity` rows, like all that follows */
    expanded_keys expanded;
    tensor kv_rstd;
    tensor cosine, sine; /* as in activations */
    arena memory;
} kv_cache;

/* Lays out and reserves, for models of this shape; length is 0. Stops the job when memory is short. */
void kv_cache_init(kv_cache *c, const dims *d, const ops *k, int64_t capacity);
void kv_cache_free(kv_cache *c);

/* The pieces that a cache and activations have in common, with `rows` rows or positions. */
layer_keys layer_keys_layout(const dims *d, const ops *k, int64_t rows, arena *a);
expanded_keys expanded_keys_layout(const dims *d, const ops *k, int64_t rows, arena *a);
void angles_layout(tensor *cosine, tensor *sine, const dims *d, const ops *k, int64_t positions, arena *a);
void angles_upload(tensor *cosine, tensor *sine, const dims *d, const ops *k);

#endif
