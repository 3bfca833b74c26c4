/* Tensors that live sharded over the ranks (gradients, moments) into one safetensors file, a unit at a time.
 */
#ifndef REMLA_TRAIN_UNIT_FILE_H
#define REMLA_TRAIN_UNIT_FILE_H
#include "model/weights.h"
#include "optim/optimizer.h"

/* Writes, for every unit and every part i, the unit's parameters as float32 tensors PREFIX[i]NAME, each
 * element times `scale`. Rank 0 writes; hash and bytes are those of the file, on rank 0. MPI: collective;
 * every rank returns the same status. */
status unit_file_write(const char *path, const param_table *table, optimizer *o, const optim_part *part,
                       const char *const *prefix, int parts, double scale, const comm *c, uint64_t *hash,
                       int64_t *bytes, message *why);

/* Reads the same file back into this rank's slices. ERR_INPUT names what is missing or has another shape. Not
 * collective. */
status unit_file_read(const char *path, const param_table *table, optimizer *o, const optim_part *part,
                      const char *const *prefix, int parts, message *why);

#endif
