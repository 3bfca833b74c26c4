/* A run that has exploded goes back to a checkpoint from before that, and passes over the data since, which
 * may have been the cause: the same weights on the same data would explode again. Where it went back, and
 * what it passed over, is a part of its state (checkpoint_state.passed).
 *
 * The same run takes the same way each time. The decision depends on the losses alone (train/loss_watch.h)
 * and on the checkpoints from before them. A run that is killed on the way back, or before its next
 * checkpoint, starts again on the old way, explodes again, and goes back again. */
#ifndef REMLA_TRAIN_ROLLBACK_H
#define REMLA_TRAIN_ROLLBACK_H
#include "train/saving.h"

/* Call after saving_step. Does nothing unless s->watch says that the run has exploded with the step of `r`.
 * Goes back to the newest good checkpoint that is older than the first far step by two, or is the one that it
 * went back to last, as long as train.rollbacks allows: weights, moments, step and the lines of metrics.jsonl
 * are those of a start from there, the position in the data stays what it is. Newer checkpoints are removed.
 * *back: it has. Where it cannot go back, a warning says why and the run goes on, or DIVERGED when its
 * updates are skipped. Any other failure is that of a start from the checkpoint. MPI: collective; every rank
 * returns the same. */
status rollback(saving *s, const step_result *r, bool *back, message *why);

/* Joins the state of the checkpoint that a run goes back to (*then, as it was read) with the state that it
 * goes back from: the position, and all that was ever passed over. Parts that were passed over after steps
 * that are undone now belong to the step of the checkpoint. ERR_INPUT: the checkpoint is not from the past of
 * `now`. */
status rollback_state(checkpoint_state *then, const checkpoint_state *now, const char *reason, message *why);

#endif
