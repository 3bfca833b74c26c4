/* debug.dump_gradients: the gradient of a step's mean loss, before clipping, in a safetensors file (float32,
 * the checkpoint's tensor names). */
#ifndef REMLA_TRAIN_GRADIENTS_H
#define REMLA_TRAIN_GRADIENTS_H
#include "model/weights.h"
#include "optim/optimizer.h"

/* After the gradients are summed over ranks, before they are cleared. scale: 1 / counted targets. MPI:
 * collective; every rank returns the same status. */
status gradients_write(const char *path, const param_table *table, optimizer *o, double scale, const comm *c,
                       message *why);

#endif
