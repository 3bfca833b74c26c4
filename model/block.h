/* One layer: x + attention(norm(x)), then mid + feed-forward(norm(mid)). As a whole for the model, in steps
 * for conversion, which makes a layer from what it sees between them. `m` gives shape and ops, `w` are the
 * layer's weights; `layer` is the number under which `acts` keeps its activations: x, heads, mid and latents
 * below are those of activations_layer(acts, layer), h is its attn_h, and delta that of acts->s. */
#ifndef REMLA_MODEL_BLOCK_H
#define REMLA_MODEL_BLOCK_H
#include "model/model.h"

/* x to `out` (N,C), which may be x itself where nothing is kept for backward. */
void block_forward(const model *m, const layer_weights *w, activations *acts, int layer, tensor *out);
/* acts->dx from the gradient of `out` to that of x, in place; adds the gradients of the weights to g. The
 * layers go from the last to the first. What acts have not kept of this one is computed again. */
void block_backward(const model *m, const layer_weights *w, layer_weights *g, activations *acts, int layer);

/* x to h, the normed input of attention. */
void block_attention_input(const model *m, const layer_weights *w, activations *acts, int layer);
/* h to heads and delta. */
void block_attention(const model *m, const layer_weights *w, activations *acts, int layer);
/* heads to delta: o_proj alone. */
void block_attention_output(const model *m, const layer_weights *w, activations *acts, int layer);
/* x and delta to mid, and through the feed-forward part to `out`. */
void block_rest(const model *m, const layer_weights *w, activations *acts, int layer, tensor *out);
/* MLA: h to the latent of keys and values (kv_a, its rotary part not rotated), and with Rq to that of queries
 * (q_latent), both before their norms. */
void block_kv_latent(const model *m, const layer_weights *w, activations *acts, int layer);
void block_q_latent(const model *m, const layer_weights *w, activations *acts, int layer);

#endif
