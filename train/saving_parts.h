/* Private to train/saving*.c: the checkpoint that is being written (s->writing), and the disk under it.
 * Collective, but for limits and the watchdog. */
#ifndef REMLA_TRAIN_SAVING_PARTS_H
#define REMLA_TRAIN_SAVING_PARTS_H
#include "train/saving.h"

/* Seconds without an answer of the disk after which it counts as silent. */
double saving_answer_limit(const saving *s);
/* Sets the watchdog on what this rank's own thread asks the disk from now on: that is little, but its answer
 * may take as long as others do. */
void saving_watch(const saving *s);

/* Takes it further, if there is one. A failure is a warning, and the checkpoint is owed. */
void saving_follow(saving *s);
/* Says that the checkpoint of `step` has failed while the training goes on, and decides when to try again. */
void saving_failed(saving *s, int64_t step, const message *why);
/* Before the next one: waits for it, unless its disk gives no answer. */
void saving_wait_for_disk(saving *s);
/* Waits for it. UNSAVED: it has failed. Ends the job as saving_wait does. */
status saving_written(saving *s, message *why);

#endif
