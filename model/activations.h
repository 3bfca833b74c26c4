/* Holds what a pass over one micro-batch of B sequences of T tokens needs beside weights: the batch itself,
 * what every layer keeps for backward, and scratch. One set belongs to one shape and one length, and serves
 * every model of that shape; a model may be used with several sets, one for each length. Everything is laid
 * out once by activations_init; nothing is allocated afterwards. */
#ifndef REMLA_MODEL_ACTIVATIONS_H
#define REMLA_MODEL_ACTIVATIONS_H
#include "base/arena.h"
#include "kernels/kernels.h"
#include "model/dims.h"

typedef enum activations_use {
    FORWARD_ONLY,        /* the layers share all memory */
    FORWARD_AND_BACKWARD /* a layer keeps for backward what `recompute` says; room for gradients of
                            activations */
} activations_use;

/* Says what backward computes again, in memory that the layers share, instead of reading what each layer has
 * kept. The bits are the same. Chen et al. 2016, arXiv:1604.06174. */
typedef enum recompute {
    RECOMPUTE_NONE,  /* nothing */
    RECOMPUTE_LIGHT, /* what costs little and would double the memory: the second part of layer_acts */
    RECOMPUTE_LAYER  /* all of a layer but its input x */
} recompute;

/* Holds what a layer computes in forward and reads in backward. */
typedef struct layer_acts {
    tensor x;         /* (N,C) the residual stream that enters the layer */
    tensor attn_rstd; /* (N) */
    tensor q;         /* (N,H*(Dn+Dr)) or (N,H*D), rotated */
    tensor q_latent;  /* MLA with Rq: (N,Rq) before its norm */
    tensor q_rstd;    /* (N) */
    tensor kv_a;      /* MLA: (N,R+Dr) the latent before its norm, then the rotary key, rotated */
    tensor kv_rstd;   /* (N) */
    tensor k, v;      /* GQA: (N,G*D), k rotated */
    tensor heads;     /* (N,H*Dv) output of attention before o_proj */
    tensor lse;       /* (B,H,T) */
    tensor mid;       /* (N,C) the residual stream after attention */
    tensor mlp_rstd;  /* (N) */
    tensor gate, up;  /* (N,F) */

    /* Cheap to compute from the above. attn_h and mlp_h are one memory where neither has to last. */
    tensor attn_h, mlp_h; /* (N,C) the normed inputs of attention and of feed-forward */
    tensor q_normed;      /* MLA with Rq: (N,Rq) */
    tensor kv_normed;     /* MLA: (N,R) */
    tensor kv;            /* MLA: (N,H*(Dn+Dv)) each head's part of keys, then its values */
    tensor keys;          /* MLA: (N,H*(Dn+Dr)) */
    tensor act;           /* (N,F) the product of gate and up */
} layer_acts;

/* Used by every layer in turn. */
typedef struct layer_scratch {
    tensor delta; /* (N,C) what a sub-layer adds to the residual stream */
    tensor dh, dheads, dq, dq_latent, dq_normed, dkv_a, dkv_normed, dkv, dk, dv, dact,
        dup; /* gradients of what layer_acts has */
} layer_scratch;

typedef struct activations {
    int64_t B, T;
    activations_use use;
    recompute recompute;
    tensor tokens, targets, first; /* i32: (N), (N), (B,T) the batch */
    tensor cosine, sine;           /* (T,width/2) of the rotary part, a row for each position */
    tensor position;               /* (B,T) i32: rows of these: 0, 1, ... */
    layer_acts *layer; /* (L), parts of which may be shared; FORWARD_ONLY: one; use activations_layer */
    layer_scratch s;
    tensor last, last_rstd, hidden; /* (N,C) after the last layer; (N); (N,C) after the final norm */
    tensor dhidden;  /* (N,C) gradient of hidden; lies where s.dh does, which is free until the layers'
                        backward */
    tensor dx;       /* (N,C) gradient of the residual stream */
    tensor loss;     /* (N) */
    tensor loss_sum; /* (1) f64: of loss_forward since loss_zero */
    tensor logits;   /* (rows,V) scratch of head_loss */
    arena memory;
} activations;

/* Lays out and reserves. Whether latents have a norm (d->latent_norm) makes no difference, nor does `again`
 * FORWARD_ONLY. Stops the job when memory is short. */
void activations_init(activations *a, const dims *d, const ops *k, int64_t B, int64_t T, activations_use use,
                      recompute again);
void activations_free(activations *a);
/* Bytes that activations_init reserves. */
int64_t activations_bytes(const dims *d, const ops *k, int64_t B, int64_t T, activations_use use,
                          recompute again);

static inline layer_acts *activations_layer(const activations *a, int layer)
{
    return &a->layer[a->use == FORWARD_ONLY ? 0 : layer];
}

#endif
