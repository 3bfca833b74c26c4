/* Sum and count stay apart until the end, when the ranks have added both. */
#include "model/mean_loss.h"

void mean_loss_add(mean_loss *l, double sum, const token_batch *batch)
{
    l->sum += sum;
    l->counted += (double)token_batch_counted(batch);
}

void mean_loss_reduce(mean_loss *l, const comm *c)
{
    double parts[] = {l->sum, l->counted};
    comm_wait(c, comm_sum_f64(c, parts, 2));
    *l = (mean_loss){parts[0], parts[1]};
}

double mean_loss_value(const mean_loss *l) { return l->counted > 0 ? l->sum / l->counted : 0; }
