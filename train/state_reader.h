/* Reads the optimizer's states of a checkpoint, whatever number of ranks has written them: the tensors of all
 * files optim-*.safetensors of its folder (train/state_files.h). Opening reads headers alone; a range of a
 * parameter is then read from the pieces that hold it, so that each rank reads no more than it keeps. */
#ifndef REMLA_TRAIN_STATE_READER_H
#define REMLA_TRAIN_STATE_READER_H
#include "model/hf/safetensors.h"
#include "optim/states.h"

/* A tensor of a file: elements from..from+count of a flattened parameter. */
typedef struct stored_piece {
    const safetensors *file; /* one of the reader's */
    int entry;               /* in it */
    int list;                /* kind * parameters + parameter */
    int64_t from, count;
} stored_piece;

typedef struct state_reader {
    char folder[PATH_BYTES];
    const param_table *table; /* borrowed */
    safetensors *file;
    int files;
    stored_piece *piece; /* by list, then by from */
    int64_t pieces, capacity;
    int64_t *first; /* (STATE_KINDS * parameters + 1) where the pieces of a list begin */
} state_reader;

/* Opens all state files of `folder`. Checks that their pieces cover m and v of every parameter of `t` exactly
 * once, and its masters too if there are any. ERR_INPUT names the tensor that is missing, stored twice, not
 * the model's or of another shape; nothing is open then. Not collective. */
status state_reader_open(state_reader *r, const char *folder, const param_table *t, message *why);
void state_reader_close(state_reader *r);
/* True when they hold masters. A checkpoint without them has its masters in the model files. */
bool state_reader_has_masters(const state_reader *r);
/* Reads elements [from, from+count) of the table's parameter `i`. Infinities and NaN are an ERR_INPUT. Not
 * collective. */
status state_reader_read(const state_reader *r, state_kind kind, int i, int64_t from, int64_t count,
                         float *out, message *why);

#endif
