/* Head and loss are one op, which never holds the (N,V) logits (kernels/ops.def, head_loss). Their gradient
 * needs the same logits, so a caller that wants it calls loss_backward alone. */
#include "model/loss.h"
#include "base/status.h"

void loss_forward(const model *m, activations *a, const token_batch *batch)
{
    const ops *k = m->k;
    k->upload_i32(&a->targets, batch->targets, k->stream);
    const tensor head = weights_head(&m->table, &m->units);
    k->head_loss_forward(&a->loss, &a->hidden, &head, &a->targets, &a->logits, k->stream);
    units_release(&m->units, unit_of_head(&m->table));
    k->sum(&a->loss_sum, &a->loss, k->stream);
}

void loss_backward(const model *m, activations *a, const units *g, const token_batch *batch, tensor *sum)
{
    REQUIRE(a->use == FORWARD_AND_BACKWARD, "the activations were laid out without backward");
    const ops *k = m->k;
    k->upload_i32(&a->targets, batch->targets, k->stream);
    const tensor head = weights_head(&m->table, &m->units);
    tensor dhead = weights_head(&m->table, g);
    k->head_loss_backward(&a->dhidden, &dhead, &a->loss, &a->hidden, &head, &a->targets, &a->logits,
                          k->stream);
    units_release(&m->units, unit_of_head(&m->table));
    k->sum(sum, &a->loss, k->stream);
}

void loss_of_tokens(const model *m, const activations *a, double *losses)
{
    m->k->download_f64(losses, &a->loss, m->k->stream);
}

void loss_zero(const model *m, activations *a) { m->k->zero(&a->loss_sum, m->k->stream); }

double loss_sum(const model *m, const activations *a)
{
    double sum;
    m->k->download_f64(&sum, &a->loss_sum, m->k->stream);
    return sum;
}
