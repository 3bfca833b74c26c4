/* The mean loss of many batches, on any number of ranks: the sum of the losses over the count of the targets
 * that count. It is no mean of means, so batches may count unequally. */
#ifndef REMLA_MODEL_MEAN_LOSS_H
#define REMLA_MODEL_MEAN_LOSS_H
#include "base/comm.h"
#include "base/token_batch.h"

/* Begins as {0}. */
typedef struct mean_loss {
    double sum;     /* nats */
    double counted; /* targets: whole, and a double so that ranks add both in one call */
} mean_loss;

/* Adds the losses of a batch, whose sum the caller has. */
void mean_loss_add(mean_loss *l, double sum, const token_batch *batch);
/* Adds up what the ranks have. MPI: collective. */
void mean_loss_reduce(mean_loss *l, const comm *c);
/* Returns the mean in nats, 0 when nothing counts. */
double mean_loss_value(const mean_loss *l);

#endif
