/* Which parameters a model has, and where they lie. Parameters live in units: a unit is one contiguous flat
 * buffer, padded at its end so that it can be cut evenly over ranks. The table is made from a model's shape
 * (model/weights.h). This folder stands below model/ and optim/, which both work on it and do not know each
 * other. */
#ifndef REMLA_MODEL_UNITS_PARAM_TABLE_H
#define REMLA_MODEL_UNITS_PARAM_TABLE_H
#include "base/tensor.h"

enum { PARAM_NAME_BYTES = 128 };

typedef struct param {
    char name[PARAM_NAME_BYTES]; /* the checkpoint's tensor name */
    int unit;
    int field;      /* of a layer's parameter: which tensor of layer_weights (model/weights.h) it is */
    int64_t offset; /* elements from the start of the unit */
    int rank;       /* 1 or 2 */
    int64_t dim[2];
    int64_t numel;
} param;

typedef struct param_table {
    param *param; /* in unit order, inside a unit in buffer order */
    int count;
    int num_units;
    int64_t *unit_numel; /* (num_units) without padding */
    int *unit_first;     /* (num_units+1) where a unit's parameters begin; the last entry is count */
    int head_unit; /* where the head is: in the last unit, or of a tied model in the first, whose gradient
                      is then held from the loss to the end of backward */
} param_table;

void param_table_free(param_table *t);
int64_t param_table_numel(const param_table *t);
int64_t param_table_largest(const param_table *t);               /* elements of the largest unit */
int64_t param_table_before(const param_table *t, int unit);      /* elements of the units before it */
const param *param_find(const param_table *t, const char *name); /* NULL when there is none */
/* Finds what lies of the parameter in elements [low, high) of its unit: *from up to *to, in the unit, too.
 * False: nothing does. */
bool param_within(const param *p, int64_t low, int64_t high, int64_t *from, int64_t *to);
/* The parameter as a view into the flat buffer of its unit. */
tensor param_view(const param *p, const tensor *flat);

#endif
