/* Fingerprints (base/fingerprint.h) of what a training holds, computed where it lies: of a device nothing but
 * the result comes to the host. An element's place is its number in the model, units in order and without
 * their padding, so fingerprints do not depend on ranks and stage. Those of the second moments begin at the
 * number of elements of the model: the moments together have one fingerprint, the sum of the two.
 *
 * All wait for the device, and for weights that are on their way. They may be called while no unit is
 * held. */
#ifndef REMLA_OPTIM_FINGERPRINTS_H
#define REMLA_OPTIM_FINGERPRINTS_H
#include "optim/optimizer.h"

/* Computes that of the weights that a pass reads. Where ranks have copies (stages 0 to 2) each gets that of
 * its own copy; in stage 3 all get the same, of the slices of all ranks together. Collective. */
uint64_t fingerprint_weights(optimizer *o);

/* Computes that of m, v or the masters, as optimizer_gather has them. Where they are cut (stages 1 to 3) all
 * get the same, of the slices of all ranks together; in stage 0 each gets that of its own. Collective. */
uint64_t fingerprint_states(optimizer *o, optim_part part);

/* ---- of single units, to compare ranks: o->fingerprints ---- */

/* Computes those of the weights of this rank: its copy, in stage 3 its slices. Queued. */
void fingerprints_of_weights(optimizer *o);
/* Sets all to zero, to add those of anything else. */
void fingerprints_begin(optimizer *o);
/* Adds that of a part of unit u, which begins at element `before` of the unit and may end with padding; act
 * or real. Queued. */
void fingerprints_add(optimizer *o, int u, const tensor *part, int64_t before);
/* Brings them to the host, (units). */
void fingerprints_read(const optimizer *o, uint64_t *of);

#endif
