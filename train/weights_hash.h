/* Checks that all ranks hold the same weights. Each computes with its own copy of them: a copy that has gone
 * astray (memory, network, a race) would spoil the gradients of all the others from then on, and no loss
 * shows it. Where weights are cut (stage 3), the copies are those that are gathered for a pass. */
#ifndef REMLA_TRAIN_WEIGHTS_HASH_H
#define REMLA_TRAIN_WEIGHTS_HASH_H
#include "base/comm.h"
#include "model/model.h"

/* XXH3 of the weights that this rank computes with, widened to float32; waits for the device. ERR_DEVICE,
 * naming a rank, where those of the ranks differ. MPI: collective; every rank returns the same status. */
status weights_hash(const model *m, const comm *c, uint64_t *hash, message *why);

#endif
