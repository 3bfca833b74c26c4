/* Cosine and sine of the angles by which rope turns the pairs of a position, a row for each position. */
#ifndef REMLA_MODEL_ANGLES_H
#define REMLA_MODEL_ANGLES_H
#include "base/arena.h"
#include "kernels/kernels.h"
#include "model/dims.h"

/* Cuts both tables, (positions,width/2) of the model's rotary part, in the table's `real`. */
void angles_layout(tensor *cosine, tensor *sine, const dims *d, const ops *k, int64_t positions, arena *a);
/* Fills them, for positions 0, 1, ... */
void angles_upload(tensor *cosine, tensor *sine, const dims *d, const ops *k);

#endif
