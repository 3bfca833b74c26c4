/* 16-bit floats as they are stored: F16 (IEEE half) and BF16. */
#ifndef REMLA_MODEL_HF_HALVES_H
#define REMLA_MODEL_HF_HALVES_H
#include "base/tensor.h"

void halves_widen(float *out, const uint16_t *half, int64_t count, dtype type); /* exact */
/* Rounds finite numbers to nearest even. Returns the index of the first that becomes infinite, -1 if none. */
int64_t halves_narrow(uint16_t *half, const float *data, int64_t count, dtype type);
/* Rounds finite numbers in place to `type` (F32, F16 or BF16). Returns the index of the first overflow (that
 * element and later ones may be left unrounded), -1 if none. */
int64_t halves_round(float *data, int64_t count, dtype type);

#endif
