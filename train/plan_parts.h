/* Private to train/plan*.c. */
#ifndef REMLA_TRAIN_PLAN_PARTS_H
#define REMLA_TRAIN_PLAN_PARTS_H
#include "kernels/kernels.h"
#include "optim/shards.h"
#include "train/plan.h"

/* plan_memory.c: sets bytes, peak, host_bytes and fits. */
void plan_memory(plan *p, const plan_run *r);
/* The types of what the run computes with. */
ops plan_ops(const plan_run *r);
shards_settings plan_shards(const plan_run *r);

/* plan_exchange.c: sets bytes_sent, seconds.communication and seconds.hidden; of a step whose computing takes
 * seconds.compute. */
void plan_exchange(plan *p, const plan_run *r);

/* plan_advice.c: sets advice. */
void plan_advice(plan *p, const plan_run *r);

#endif
