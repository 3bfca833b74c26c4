/* Puts a plan together: disk, operations and time here, the rest in files of their own. */
#include "train/plan.h"
#include "model/model.h"
#include "train/checkpoint.h"
#include "train/option_words.h"
#include "train/plan_parts.h"

/* Folders of checkpoints that are there at a time: those that stay, the best, and the newest, of which the
 * next step has yet to show that it is good. */
static int checkpoints(const options *o, int64_t steps)
{
    const bool best = o->checkpoint_keep_best && o->data_val.count && o->val_every.word == OPTION_NUMBER;
    const int64_t most = o->checkpoint_keep + 1 + best, every = option_or(o->checkpoint_every, 0),
                  written = !every      ? 1
                            : steps < 0 ? most
                                        : (steps + every - 1) / every;
    return (int)(written < most ? written : most);
}

static int64_t disk_bytes(const plan_run *r)
{
    param_table table;
    param_table_init(&table, r->d);
    const dtype storage = checkpoint_weights_of(r->o, plan_ops(r).act);
    const int64_t bytes = checkpoint_bytes(&table, r->ranks, storage);
    param_table_free(&table);
    return bytes;
}

/* Operations for each of the model's count: a layer that is computed again costs a third more. */
static double work(const plan_run *r, double flops_per_token)
{
    if (r->o->train_recompute != OPTION_train_recompute_layer) return 1;
    const double layers = (double)r->d->L * model_layer_flops_per_token(r->d, r->o->train_seq_len);
    return 1 + layers / 3 / flops_per_token;
}

double plan_peak_flops(const plan_run *r)
{
    return plan_ops(r).act == BF16 ? r->machine.peak : r->machine.peak_f32;
}

double plan_bandwidth(const plan_run *r)
{
    return r->ranks > r->machine.host_ranks ? r->machine.across : r->machine.inside;
}

static void plan_time(plan *p, const plan_run *r)
{
    const options *o = r->o;
    const double per_token = model_flops_per_token(r->d, o->train_seq_len);
    p->flops_per_step = per_token * (double)o->train_batch_tokens;
    p->seconds.compute =
        p->flops_per_step * work(r, per_token) / (double)r->ranks / (plan_peak_flops(r) * r->machine.share);
    if (o->optim_offload && r->machine.gpu) p->seconds.offload = (double)p->host_bytes / r->machine.host;
    plan_exchange(p, r);
}

void plan_make(plan *p, const plan_run *r)
{
    *p = (plan){.checkpoint_bytes = disk_bytes(r), .checkpoints = checkpoints(r->o, r->steps)};
    p->total_bytes = p->checkpoint_bytes * p->checkpoints;
    plan_memory(p, r);
    plan_time(p, r);
    if (!p->fits) plan_advice(p, r);
}
