/* Fingerprints of values: the sum over elements i of splitmix(bits of x[i], i), modulo 2^64. Unlike a hash of
 * a stream of bytes it adds up: parts may be computed in any order, by any threads, ranks and devices, and
 * their fingerprints added. An element counts with its place, so values that have been exchanged show, and a
 * single changed element always does. The op of the same name (kernels/ops.def) computes it where tensors
 * lie. */
#ifndef REMLA_BASE_FINGERPRINT_H
#define REMLA_BASE_FINGERPRINT_H
#include <stdint.h>

/* Computes that of x (count), whose first element is number `first` of the whole, on the calling thread. */
uint64_t fingerprint_f32(const float *x, int64_t count, int64_t first);

#endif
