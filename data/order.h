/* The order of training samples: a pure function of (seed, position). Position p is sample p % windows of
 * epoch p / windows, shuffled by a permutation of its own for each epoch (a Feistel network with cycle
 * walking), computed in O(1): resuming costs nothing, and the order does not know the number of ranks. */
#ifndef REMLA_DATA_ORDER_H
#define REMLA_DATA_ORDER_H
#include <stdint.h>

/* The window at `position` (from 0) of a dataset of `windows`. */
int64_t order_window(uint64_t seed, uint64_t position, int64_t windows);
/* The permutation itself, of [0,n), for one (seed, epoch). */
int64_t order_permute(uint64_t seed, uint64_t epoch, int64_t i, int64_t n);

#endif
