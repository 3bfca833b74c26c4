/* Private to model/: the parts of a layer. Each forward has its mirror image, with the same step numbers,
 * below it in the same file. Inputs: m->s.h is the normed input; outputs: m->s.delta. Backward: m->dx is the
 * gradient of the residual stream (read), m->s.dh the gradient of the normed input (written); weights'
 * gradients are added to g. */
#ifndef REMLA_MODEL_PARTS_H
#define REMLA_MODEL_PARTS_H
#include "model/model.h"
#include <stddef.h>

void mla_forward(model *m, int layer, layer_acts *a);
void mla_backward(model *m, int layer, layer_acts *a);
void gqa_forward(model *m, int layer, layer_acts *a);
void gqa_backward(model *m, int layer, layer_acts *a);
void ffn_forward(model *m, int layer, layer_acts *a);
void ffn_backward(model *m, int layer, layer_acts *a);

/* A layer: a->x to `out` (N,C). Backward: m->dx from the gradient of `out` to that of a->x, in place. */
void block_forward(model *m, int layer, layer_acts *a, tensor *out);
void block_backward(model *m, int layer, layer_acts *a);

/* (N,H*D) seen as (B,T,H,D); rows may be strided. */
tensor heads_of(const model *m, const tensor *t, int64_t heads);
/* NULL for a bias that the model does not have. */
static inline const tensor *optional(const tensor *t) { return tensor_present(t) ? t : (const tensor *)0; }
static inline tensor *optional_gradient(tensor *t) { return tensor_present(t) ? t : (tensor *)0; }

#endif
