/* Says what a conversion needs, before it starts. */
#ifndef REMLA_TRAIN_CONVERSION_PLAN_H
#define REMLA_TRAIN_CONVERSION_PLAN_H
#include "model/convert/layerwise.h"

/* Prints text, memory and time (base/log.h). Unless `plan_only`, a conversion that needs more memory than its
 * ranks can get on their machine is ERR_USAGE: the sentence has both figures and says what to lower. Of the
 * texts only the sizes are read. MPI: collective; every rank returns the same. */
status conversion_plan(const layers_job *job, bool plan_only, message *why);

#endif
