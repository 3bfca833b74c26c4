/* The weights of a model, or sums of their gradients: the table of what there is, and tensors that are views
 * into units. Unit 0 is the embedding, units 1..L are the layers, unit L+1 is the final norm and the head (of
 * a tied model the head is the embedding, in unit 0). The tensors of a layer are those of params.def. */
#ifndef REMLA_MODEL_WEIGHTS_H
#define REMLA_MODEL_WEIGHTS_H
#include "base/arena.h"
#include "base/status.h"
#include "model/dims.h"
#include "model/units/param_table.h"
#include "model/units/units.h"

void param_table_init(param_table *t, const dims *d);

typedef struct layer_weights {
#define P(field, name, rows, cols, present) tensor field;
#include "model/params.def"
#undef P
} layer_weights; /* a tensor that the model does not have has rank 0 */

static inline bool tensor_present(const tensor *t) { return t->rank != 0; }

/* ---- for passes: these acquire the unit, and return views that are good until its release ---- */

enum { UNIT_EMBED = 0 };
static inline int unit_of_layer(int layer) { return layer + 1; }
static inline int unit_of_final_norm(const param_table *t) { return t->num_units - 1; }
static inline int unit_of_head(const param_table *t) { return t->head_unit; }

tensor weights_embed(const param_table *t, const units *u); /* (V,C) */
layer_weights weights_layer(const param_table *t, const units *u, int layer);
tensor weights_final_norm(const param_table *t, const units *u); /* (C) */
tensor weights_head(const param_table *t, const units *u);       /* (V,C) */

/* ---- resident: the storage of all units at once ---- */

typedef struct weights {
    int num_units;
    int64_t pad;
    tensor *unit; /* (padded numel) flat; their length is a multiple of `pad`, and what is beyond the
                     parameters stays zero */
} weights;

/* Cuts the units out of `a`, which may be measuring. `pad`: every unit is padded to a
 * multiple of this many elements, so that it can be cut evenly over ranks. The caller frees the list with
 * weights_free; the memory is the arena's. */
void weights_init(weights *w, const param_table *t, dtype type, int64_t pad, arena *a);
void weights_free(weights *w);
tensor weights_param(const weights *w, const param *p); /* view of one parameter */
/* The units for a pass, as long as w lives. To acquire and to release cost nothing. Who sets weights finds
 * its way by them, too: weights_layer of these units is a layer in its storage. */
units weights_units(const weights *w);

#endif
