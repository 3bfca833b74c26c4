/* Memory of one rank, by the layout code of the training itself. */
#include "base/arena.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include "train/checkpoint.h"
#include "train/option_words.h"
#include "train/plan_parts.h"

ops plan_ops(const plan_run *r)
{
    const bool gpu = r->machine.gpu;
    return ops_for_layout(gpu ? compute_settings_of(r->o).act : F32, F32, gpu);
}

shards_settings plan_shards(const plan_run *r) { return shards_settings_of(r->o, r->ranks); }

/* A communicator that is asked for its rank and size alone. */
static comm ranks_of(const plan_run *r) { return (comm){.size = r->ranks, .local_size = 1}; }

/* Weights, gradients and states. */
static void parameters(plan *p, const plan_run *r, const ops *k, const param_table *table)
{
    const shards_settings set = plan_shards(r);
    const comm c = ranks_of(r);
    arena cut = {.name = "weights and gradients"}, rest = {.name = "optimizer"},
          host = {.name = "states", .pinned = true};
    plan_bytes *b = &p->bytes;
    shards s;
    optimizer o = {.offload = r->machine.gpu && r->o->optim_offload ? &host : NULL};
    shards_init(&s, k, &c, table, &set, &cut);
    optimizer_init(&o, &c, &s, &rest);
    b->weights = s.bytes.weights;
    b->gradients = s.bytes.gradients;
    b->communication = s.bytes.sides;
    b->states = rest.used;
    p->host_bytes = host.used;
    optimizer_free(&o);
    shards_free(&s);
}

/* What a layer more would take is what each keeps. */
static void passes(plan_bytes *b, const plan_run *r, const ops *k)
{
    const options *o = r->o;
    const recompute again = recompute_of(o->train_recompute);
    dims deeper = *r->d;
    deeper.L++;
    const int64_t all = activations_bytes(r->d, k, o->train_micro_batch, o->train_seq_len,
                                          FORWARD_AND_BACKWARD, again),
                  more = activations_bytes(&deeper, k, o->train_micro_batch, o->train_seq_len,
                                           FORWARD_AND_BACKWARD, again);
    b->activations = (more - all) * r->d->L;
    b->scratch = all - b->activations;
    if (r->questions) b->scratch += decoder_bytes(r->d, k, r->questions);
}

static int64_t sum(const plan_bytes *b)
{
    return b->weights + b->gradients + b->states + b->activations + b->scratch + b->communication +
           b->library;
}

void plan_memory(plan *p, const plan_run *r)
{
    const ops k = plan_ops(r);
    param_table table;
    param_table_init(&table, r->d);
    p->parameters = param_table_numel(&table);
    parameters(p, r, &k, &table);
    p->copy_bytes = checkpoint_copy_bytes(&table, r->ranks, checkpoint_weights_of(r->o, k.act), k.act);
    param_table_free(&table);
    passes(&p->bytes, r, &k);
    p->bytes.library = r->machine.library + (r->ranks > 1 ? r->machine.library_ranks : 0);
    p->peak_bytes = sum(&p->bytes);
    p->peak_at = "every step: all of it is reserved before the first";
    p->fits = p->peak_bytes <= r->machine.bytes;
    if (!r->machine.gpu) { /* copies are in the same memory */
        p->peak_bytes += p->copy_bytes;
        p->peak_at = "saving a checkpoint: a copy of weights and states beside the rest";
    }
}
