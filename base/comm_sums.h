/* Private to base/: adds up what ranks have brought, in one of the orders of comm.h. */
#ifndef REMLA_BASE_COMM_SUMS_H
#define REMLA_BASE_COMM_SUMS_H
#include "base/comm.h"

enum { COMM_RANKS_MAX = 1 << 16 }; /* what the tree has room for */

/* out (n) = the sum over part[0..parts), each (n) of type how->sent. `out` may be one of the parts. */
void comm_sums_f32(float *out, const void *const *part, int parts, int64_t n, const reduction *how);

/* half (n) = full (n), rounded. */
void comm_sums_round(uint16_t *half, const float *full, int64_t n);

#endif
