/* What a run measures of its weights beside the losses of its steps: the loss on held-out text (data.val)
 * every val.every steps, answers to the questions of eval.tasks every eval.every, and both after the last
 * step. A failure is a warning. All functions are collective. */
#ifndef REMLA_TRAIN_ASSESS_H
#define REMLA_TRAIN_ASSESS_H
#include "train/metrics.h"
#include "train/training.h"

/* Call before the first step of a process. Does what is due after the step of t->state and is not in the
 * files yet. Not OK: held-out text is bad from the start, in a run that has nothing to lose yet. Every rank
 * returns the same status. */
status assess_first(training *t, metrics *log, message *why);
/* Call after every step. */
void assess_due(training *t, metrics *log);

#endif
