/* The order of training samples: a pure function of (seed, position). The samples of each epoch are shuffled
 * by a permutation of its own (a Feistel network with cycle walking), computed in O(1): resuming costs
 * nothing, and the order does not know the number of ranks. docs/FORMATS.md, "Order of training". */
#ifndef REMLA_DATA_ORDER_H
#define REMLA_DATA_ORDER_H
#include <stdint.h>

/* order_permute returns the sample at place i of [0,n) in epoch `epoch`, order_unpermute the place of a
 * sample. */
int64_t order_permute(uint64_t seed, uint64_t epoch, int64_t i, int64_t n);
int64_t order_unpermute(uint64_t seed, uint64_t epoch, int64_t sample, int64_t n);

/* Does the same with a locality window, for storage that is slow to seek: samples in runs of a sixteenth of
 * the window stay near one another. The runs are permuted, then the samples inside each `window` places.
 * Still a permutation of [0,n). A window of 0 is order_permute. */
int64_t order_permute_near(uint64_t seed, uint64_t epoch, int64_t i, int64_t n, int64_t window);

/* Returns the seed of source j of a mixture, whose samples are permuted on their own; source 0 has the run's.
 */
uint64_t order_seed(uint64_t seed, int source);

#endif
