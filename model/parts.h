/* Private to model/: the two halves of a layer. Each forward has its mirror image, with the same step
 * numbers, below it in the same file. `m` gives shape and ops; its weights are not looked at. `w` are the
 * layer's weights, `g` their gradients, which are added to. `layer` is the number under which `acts` keeps
 * the layer's activations. Forward: attn_h or mlp_h is the normed input, acts->s.delta the output. Backward:
 * acts->dx is the gradient of the residual stream (read), acts->s.dh that of the normed input (written); all
 * that forward wrote to layer_acts is there. */
#ifndef REMLA_MODEL_PARTS_H
#define REMLA_MODEL_PARTS_H
#include "model/block.h"
#include <stddef.h>

void mla_forward(const model *m, const layer_weights *w, activations *acts, int layer);
void mla_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer);
void gqa_forward(const model *m, const layer_weights *w, activations *acts, int layer);
void gqa_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer);
/* Up to the product; ffn_output makes the output of it. */
void ffn_forward(const model *m, const layer_weights *w, activations *acts, int layer);
void ffn_output(const model *m, const layer_weights *w, activations *acts, int layer);
void ffn_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer);

/* The cheap steps of forward alone, from what is kept: gate and up to act; the latents to q_normed,
 * kv_normed, kv and keys. */
void ffn_product(const model *m, activations *acts, int layer);
void mla_from_latents(const model *m, const layer_weights *w, activations *acts, int layer);

/* (N,H*D) seen as (B,T,H,D); rows may be strided. */
tensor part_heads(const activations *acts, const tensor *t, int64_t heads);
/* NULL for a bias that the model does not have. */
static inline const tensor *part_bias(const tensor *t) { return tensor_present(t) ? t : (const tensor *)0; }
static inline tensor *part_bias_gradient(tensor *t) { return tensor_present(t) ? t : (tensor *)0; }

#endif
