/* A plan for people and for programs. */
#ifndef REMLA_TRAIN_PLAN_PRINT_H
#define REMLA_TRAIN_PLAN_PRINT_H
#include "train/plan.h"

/* The table, in lines of the log. */
void plan_print(const plan *p, const plan_run *r);
/* Its rows of memory, bytes between ranks and disk, for a run that begins: its time will be seen. */
void plan_print_run(const plan *p, const plan_run *r);
/* One JSON object on standard output; docs/PLAN.md has its keys. */
void plan_print_json(const plan *p, const plan_run *r);

#endif
