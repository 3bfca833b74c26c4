/* Writes gradients, which live cut over the ranks, as a safetensors file, a unit at a time. */
#ifndef REMLA_TRAIN_GRADIENTS_FILE_H
#define REMLA_TRAIN_GRADIENTS_FILE_H
#include "optim/optimizer.h"

/* debug.dump_gradients: writes the summed gradient times `scale` (1 / counted targets: that of the step's
 * mean loss), before clipping, as float32 under the parameters' names. After the last micro-batch, before the
 * gradients are cleared. Rank 0 writes. MPI: collective; every rank returns the same status. */
status gradients_file_write(const char *path, optimizer *o, double scale, const comm *c, message *why);

#endif
