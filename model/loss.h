/* The loss: cross entropy of the next token, from the hidden state that model_forward leaves. It knows of the
 * model only the head, and stands between model_forward and model_backward, where another loss may stand. Of
 * a batch it reads the targets. */
#ifndef REMLA_MODEL_LOSS_H
#define REMLA_MODEL_LOSS_H
#include "model/model.h"

/* a->hidden to the loss of every token; adds them to a->loss_sum. */
void loss_forward(const model *m, activations *a, const token_batch *batch);
/* The same, and the gradient of their sum, which is added to *sum (1) f64: writes a->dhidden, adds to that of
 * the head in g, whose unit stays held for model_backward, which releases it. */
void loss_backward(const model *m, activations *a, const units *g, const token_batch *batch, tensor *sum);

/* In nats. The loss of every token (B,T), 0 where none counts; of the last micro-batch. Waits for the device.
 */
void loss_of_tokens(const model *m, const activations *a, double *losses);
/* a->loss_sum: over the batches of loss_forward since loss_zero. loss_sum waits for the device. */
void loss_zero(const model *m, activations *a);
double loss_sum(const model *m, const activations *a);

#endif
