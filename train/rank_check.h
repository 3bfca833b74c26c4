/* Checks of the ranks against each other. Each rank computes with its own copy of the weights and its own
 * arithmetic: a copy that has gone astray (memory, network, a race), or a processor that multiplies wrongly,
 * spoils the gradients of all the others from then on, and no loss shows it. Two comparisons find it:
 *
 *   weights     The fingerprints of the ranks' copies, of each unit: before the update of every
 *               parallel.check-th step, and before each checkpoint. A copy that differs does so for good in
 *               stage 0. In stages 1 and 2 the update writes it anew, or, in the slice that its own rank
 *               updates, hands it to all, which no later comparison finds. In stage 3 there are no copies.
 *   gradients   Every parallel.check steps all ranks compute the same micro-batch of the step once more, and
 *               the fingerprints of their gradients are compared, of each unit. In stage 3 that also shows a
 *               rank that has gathered other weights. It costs a micro-batch, and takes the room that the
 *               step's own gradients have a moment later. Only ranks on processors of one kind compute the
 *               same bits; where they differ, a line says at the start that gradients are not compared.
 *
 * A rank that begins to err after a check has its part in the steps, and checkpoints, until the next one.
 * Where checkpoint.every is a multiple of parallel.check, as by default, a step that is saved is one that was
 * checked.
 *
 * Nothing that a step reads is written: a run has the same numbers with and without checks. With one rank
 * there is nothing to compare. */
#ifndef REMLA_TRAIN_RANK_CHECK_H
#define REMLA_TRAIN_RANK_CHECK_H
#include "base/status.h"
#include "base/token_batch.h"
#include <stdbool.h>

struct training;

typedef struct rank_check {
    bool gradients; /* the ranks' gradients must have the same bits */
} rank_check;

/* Decides what can be compared. MPI: collective. */
void rank_check_start(struct training *t);

/* Before the first micro-batch of a step; `batch`: this rank's samples of it. Compares gradients when the
 * step is one of those that parallel.check names. ERR_DEVICE, naming the ranks that differ from most, with
 * their hosts, and the units: all ranks where there is no majority. Where weights differ, these are what it
 * names. MPI: collective; every rank returns the same status. */
status rank_check_step(struct training *t, const token_batch *batch, message *why);

/* Between the last micro-batch of the same step and its update. Compares the weights; as above. */
status rank_check_update(struct training *t, message *why);

/* Compares the weights alone, also where parallel.check is none. MPI: collective; every rank returns the same
 * status. */
status rank_check_weights(struct training *t, message *why);

/* Sets odd[r] for each of `ranks` whose value of[r * stride] is not that of most, and returns how many they
 * are; all of them where no value is that of most. */
int rank_check_odd(const uint64_t *of, int64_t stride, int ranks, bool *odd);

#endif
