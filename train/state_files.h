/* The files of a checkpoint with moments and masters: optim-00000.safetensors, optim-00001.safetensors and so
 * on, one of each rank of the run that wrote it. They hold float32 tensors in the model's own coordinates, so
 * that any number of ranks can read them:
 *
 *     m.NAME              (shape of NAME)  the first moment of parameter NAME, whole
 *     v.NAME[4096]        (count)          the second moment of elements 4096..4096+count of the flattened
 *                                          parameter
 *     master.NAME         (shape of NAME)  its float32 master; only where the model files hold another type
 *
 * Rank r of R writes the elements [r*padded/R, (r+1)*padded/R) of every unit (optim/shard_layout.h), in every
 * stage: in the order unit, part (m, v, master), parameter. One rank so writes every tensor whole. A reader
 * takes any number of such files with whatever pieces, as long as they cover each parameter of each part just
 * once. */
#ifndef REMLA_TRAIN_STATE_FILES_H
#define REMLA_TRAIN_STATE_FILES_H
#include "model/hf/safetensors.h"
#include "optim/optimizer.h"

enum { STATE_FILE_NAME = 32 };
/* Prints "optim-00003.safetensors" into `out` (STATE_FILE_NAME). Returns it. */
char *state_file_name(char *out, int rank);
/* True for the name of a file that readers take for one of them: "optim-*.safetensors". */
bool state_file_is(const char *name);

/* The parts that a state file can have, m, v and master: "m.", "v.", "master.". */
const char *state_prefix(optim_part part);

/* One tensor of a state file. */
typedef struct state_tensor {
    optim_part part;
    const param *of;
    int64_t from, count; /* elements of the flattened parameter */
} state_tensor;

/* Lists the tensors of rank `rank` of `ranks`, in the file's order; of m and v, and of masters if `masters`
 * says so. The caller frees the list. The table is borrowed by it. */
state_tensor *state_tensors(const param_table *t, int rank, int ranks, bool masters, int *count);
/* Declares it: name, type and shape. */
safetensors_spec state_tensor_spec(const state_tensor *x);
/* Bytes of all state files of `ranks` ranks. */
int64_t state_files_bytes(const param_table *t, int ranks, bool masters);

#endif
