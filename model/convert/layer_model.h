/* Private to model/convert/: a model of one layer, through which rows of text go. The source also has
 * embedding, final norm and head. Who reads its weights acquires a unit and releases it
 * (model/units/units.h); who sets them writes to the model's own storage while no unit is held. */
#ifndef REMLA_MODEL_CONVERT_LAYER_MODEL_H
#define REMLA_MODEL_CONVERT_LAYER_MODEL_H
#include "base/comm.h"
#include "model/convert/pieces.h"
#include "model/model.h"

typedef enum text_kind { TEXT_CALIBRATION, TEXT_HELD_OUT, TEXTS } text_kind;

typedef struct layer_model {
    model m;                 /* whether its latents have norms, m.d.latent_norm, may change at any time */
    activations acts[TEXTS]; /* of a chunk of each text; laid out when first needed */
} layer_model;
void layer_model_init(layer_model *l, const dims *one_layer, const ops *k);
void layer_model_free(layer_model *l); /* one of zeros, too */
/* Activations of B windows of T tokens, always the same for one text: every position sees its whole past,
 * until `first` is written. */
activations *layer_model_acts(layer_model *l, text_kind kind, int64_t B, int64_t T);

/* The flat buffers of a model of one layer. */
typedef enum layer_unit { UNIT_EMBEDDING, UNIT_LAYER, UNIT_HEAD } layer_unit;
/* Acquires one, to be read. Ends with layer_model_release. */
tensor layer_model_acquire(const layer_model *l, layer_unit unit);
/* Acquires the layer, for the steps of model/block.h. Ends with layer_model_release of UNIT_LAYER. */
layer_weights layer_model_weights(const layer_model *l);
void layer_model_release(const layer_model *l, layer_unit unit);

/* ---- passes of a chunk ----
 * The caller acquires the layer once for all chunks of a text. Embedding, norm and head are acquired here. */

/* a->tokens to the x of the layer, for the first `rows` rows. */
void layer_model_embed(const layer_model *l, activations *a, int64_t rows);
/* x through the layer, whose weights are w, to a->last. */
void layer_model_forward(const layer_model *l, const layer_weights *w, activations *a);
/* The sum of the losses of a->last behind final norm and head. Of a batch the targets are read. */
void layer_model_loss_begin(const layer_model *l, activations *a);
void layer_model_loss_add(const layer_model *l, activations *a, const token_batch *batch);
double layer_model_loss_sum(const layer_model *l, const activations *a);

/* ---- weights ---- */

/* The storage of a unit, to be filled from a file. */
tensor *layer_model_storage(layer_model *l, layer_unit unit);
/* Gives the model, which has a head of its own, its embedding as head. */
void layer_model_untie(layer_model *l);

/* Says how a layer is written: `type` is what its numbers are rounded to, `layer` names it in an error. */
typedef struct written_layer {
    dtype type;
    int64_t layer;
} written_layer;
/* Rounds embedding, final norm and head. This and the two functions below: ERR_INPUT names the tensor that
 * `type` cannot hold. */
status layer_model_round_embedding_and_head(layer_model *l, dtype type, message *why);
/* Copies what both layers have: everything but the projections of attention, whose names or shapes differ.
 * as: NULL copies as it is. */
status layer_model_copy(layer_model *to, const layer_model *from, const written_layer *as, message *why);
/* Uploads a layer that is made on the host, so that text can go through it. Its numbers are rounded in place,
 * to float and to what is written: the caller then goes on with the numbers that the text has seen. Ranks
 * take rank 0's, because eigenvectors may differ where the ranks' processors do. as: NULL only rounds to
 * float, which cannot fail: for a try. Collective. */
status layer_model_publish(layer_model *to, mla_layer *l, const comm *c, const written_layer *as,
                           message *why);
/* The source's projections. The caller ends with gqa_layer_free. */
void gqa_layer_read(gqa_layer *g, const layer_model *source);

#endif
