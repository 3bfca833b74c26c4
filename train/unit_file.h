/* Writes what lives cut over the ranks, a unit at a time: gradients and moments as one safetensors file,
 * master weights as a model folder. The optimizer's table says what is in a unit.
 *
 * `written` gets the files with their hashes, `values` the XXH3-64 of the numbers alone, as float32, unit
 * after unit and part after part, without padding: what is read can be compared with what was written, on
 * every rank and whatever their number. Both may be NULL. */
#ifndef REMLA_TRAIN_UNIT_FILE_H
#define REMLA_TRAIN_UNIT_FILE_H
#include "base/written.h"
#include "optim/optimizer.h"

/* Writes, for every unit and every part i, the unit's parameters as float32 tensors PREFIX[i]NAME, each
 * element times `scale`. Rank 0 writes; `written` and `values` are filled there. MPI: collective; every rank
 * returns the same status. */
status unit_file_write(const char *path, optimizer *o, const optim_part *part, const char *const *prefix,
                       int parts, double scale, const comm *c, written_files *written, uint64_t *values,
                       message *why);

/* Bytes of that file. */
int64_t unit_file_bytes(const param_table *table, const char *const *prefix, int parts);

/* debug.dump_gradients: writes the summed gradient times `scale` (1 / counted targets: that of the step's
 * mean loss), before clipping, under the parameters' names. After the last micro-batch, before the gradients
 * are cleared. MPI: collective; every rank returns the same status. */
status unit_file_write_gradients(const char *path, optimizer *o, double scale, const comm *c, message *why);

/* Writes the master weights as the float32 model files of `folder` (model/hf/model_files.h). Rank 0 writes.
 * MPI: collective; every rank returns the same status. */
status unit_file_write_masters(const char *folder, optimizer *o, const comm *c, written_files *written,
                               uint64_t *values, message *why);

#endif
