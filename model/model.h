/* A transformer with GQA or MLA attention: weights, gradients, saved activations, and the hand-written
 * forward and backward over one micro-batch of B sequences of T tokens. Everything is laid out once by
 * model_init; nothing is allocated afterwards. */
#ifndef REMLA_MODEL_MODEL_H
#define REMLA_MODEL_MODEL_H
#include "kernels/kernels.h"
#include "model/weights.h"

typedef enum model_use {
    MODEL_EVALUATE, /* weights, activations of one layer */
    MODEL_TRAIN     /* and gradients, and activations of every layer kept for backward */
} model_use;

/* What one layer keeps between forward and backward. Norm outputs, expanded keys and values and the product
 * of gate and up are computed again in backward: they cost little and would double the memory. */
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
} layer_acts;

/* Used by every layer in turn. */
typedef struct layer_scratch {
    tensor h;         /* (N,C) a norm's output */
    tensor delta;     /* (N,C) what a sub-layer adds to the residual stream */
    tensor q_normed;  /* (N,Rq) */
    tensor kv_normed; /* (N,R) */
    tensor kv;        /* (N,H*(Dn+Dv)) the expanded latent */
    tensor k;         /* (N,H*(Dn+Dr)) */
    tensor act;       /* (N,F) */
    tensor dh, dheads, dq, dq_latent, dq_normed, dkv_a, dkv_normed, dkv, dk, dv, dact,
        dup; /* gradients of the above */
} layer_scratch;

/* Points at which an observer sees activations: what conversion calibrates on. */
typedef enum tap_point {
    TAP_ATTENTION_INPUT, /* (N,C) output of input_layernorm */
    TAP_KV_LATENT,       /* (N,R) before its norm, rows strided */
    TAP_Q_LATENT         /* (N,Rq) before its norm */
} tap_point;
typedef void model_tap(void *context, int layer, tap_point point, const tensor *x);

typedef struct model {
    dims d;
    const ops *k;
    int64_t B, T;
    model_use use;
    param_table table;
    weights w, g;                  /* g only for MODEL_TRAIN */
    tensor cosine, sine;           /* (T,width/2) of the rotary part */
    tensor tokens, targets, first; /* i32: (N), (N), (B,T) */
    layer_acts *acts;              /* one per layer, or one for all of them when evaluating */
    layer_scratch s;
    tensor last, last_rstd, hidden; /* (N,C) after the last layer; (N); (N,C) after the final norm */
    tensor dx;                      /* (N,C) gradient of the residual stream */
    tensor loss;                    /* (N) */
    tensor loss_sum;                /* (1) f64: of the micro-batches since model_zero_loss */
    tensor logits;                  /* (rows,V) scratch of head_loss */
    arena weights_arena, step_arena;
    model_tap *tap; /* may be NULL */
    void *tap_context;
    void (*unit_done)(void *context,
                      int unit); /* may be NULL; called in backward once a unit's gradient is complete */
    void *unit_context;
} model;

/* Lays out and reserves a model; weights are zero until they are loaded. `pad` as for weights_init. Stops the
 * job when memory is short. */
void model_init(model *m, const dims *d, const ops *k, int64_t B, int64_t T, model_use use, int64_t pad);
/* Another lay-out of the weights of `owner`, which must live longer, for evaluation: a second length. */
void model_init_sharing(model *m, const model *owner, int64_t B, int64_t T);
void model_free(model *m);

/* One micro-batch, host memory, (B,T) each: inputs, targets (-1: not counted), first position that each
 * position sees. */
typedef struct model_batch {
    const int32_t *tokens, *targets, *first;
} model_batch;

/* Sum of the losses of the counted targets, in nats. */
double model_evaluate(model *m, const model_batch *batch);
/* Adds that sum to m->loss_sum, and its gradient to m->g. Queued on a device: nothing waits. */
void model_train(model *m, const model_batch *batch);
void model_zero_loss(model *m);
double model_loss(const model *m); /* m->loss_sum; waits for the device */

/* Bytes that model_init would reserve, and model_init_sharing. */
int64_t model_bytes(const dims *d, const ops *k, int64_t B, int64_t T, model_use use);
int64_t model_sharing_bytes(const dims *d, const ops *k, int64_t B, int64_t T);

/* Floating-point operations of one token of a training step (forward and backward, multiply and add counted
 * apart) at length T: 6 for every weight that multiplies, and causal attention counted once. Recomputation is
 * not counted. */
double model_flops_per_token(const dims *d, int64_t T);

#endif
