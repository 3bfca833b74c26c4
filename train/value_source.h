/* Where a checkpoint has the values of its parameters: in its state files, a kind of states, or in its model
 * files, the weights. Both are read by ranges of a parameter. */
#ifndef REMLA_TRAIN_VALUE_SOURCE_H
#define REMLA_TRAIN_VALUE_SOURCE_H
#include "train/state_reader.h"

/* Borrows all of it. */
typedef struct value_source {
    const param_table *table;
    const safetensors *model; /* NULL: in the state files */
    const state_reader *states;
    state_kind kind;
} value_source;

/* Weights of model files that hold all of the model (model_reader_open); half types are widened. */
value_source value_source_model(const safetensors *files, const param_table *t);
value_source value_source_states(const state_reader *r, state_kind kind);
/* The masters of a checkpoint: they are in its state files, or are its model files. */
value_source value_source_masters(const state_reader *r, const safetensors *files);

/* Reads elements [from, from+count) of the table's parameter `i`. Infinities and NaN are an ERR_INPUT. Not
 * collective. */
status value_source_read(const value_source *x, int i, int64_t from, int64_t count, float *out, message *why);

#endif
