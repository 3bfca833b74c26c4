/* The weight table. Parameters live in units: unit 0 the embedding, units 1..L the layers, unit L+1 the final
 * norm and the head (when it is not tied). A unit is one contiguous flat buffer; gradients, optimizer state,
 * sharding over ranks and checkpoints work on units. The tensors of params.def are views into them. */
#ifndef REMLA_MODEL_WEIGHTS_H
#define REMLA_MODEL_WEIGHTS_H
#include "base/arena.h"
#include "base/status.h"
#include "model/dims.h"

enum { PARAM_NAME_BYTES = 128 };

typedef struct param {
    char name[PARAM_NAME_BYTES]; /* the checkpoint's tensor name */
    int unit;
    int64_t offset; /* elements from the start of the unit */
    int rank;       /* 1 or 2 */
    int64_t dim[2];
    int64_t numel;
} param;

typedef struct param_table {
    param *param; /* in unit order, inside a unit in buffer order */
    int count;
    int num_units;
    int64_t *unit_numel; /* without padding */
} param_table;

void param_table_init(param_table *t, const dims *d);
void param_table_free(param_table *t);
int64_t param_table_numel(const param_table *t);
const param *param_find(const param_table *t, const char *name); /* NULL when there is none */

typedef struct layer_weights {
#define P(field, name, rows, cols, present) tensor field;
#include "model/params.def"
#undef P
} layer_weights; /* a tensor that the model does not have has rank 0 */

typedef struct weights {
    int num_units;
    int64_t pad;
    tensor *unit; /* (padded numel) flat; their length is a multiple of `pad`, and what is beyond the
                     parameters stays zero */
    tensor embed; /* (V,C) */
    layer_weights *layer;
    tensor final_norm; /* (C) */
    tensor head;       /* (V,C); the embedding itself when tied */
} weights;

/* Cuts the units out of `a` (which may be measuring) and sets the views. `pad`: every unit is padded to a
 * multiple of this many elements, so that it can be cut evenly over ranks. The caller frees the tables with
 * weights_free; the memory is the arena's. */
void weights_init(weights *w, const dims *d, const param_table *t, dtype type, int64_t pad, arena *a);
void weights_free(weights *w);
tensor weights_param(const weights *w, const param *p); /* view of one parameter */
static inline bool tensor_present(const tensor *t) { return t->rank != 0; }

#endif
