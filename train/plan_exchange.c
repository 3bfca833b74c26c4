/* The exchange between ranks in one step, played through: the passes visit units in their order, computing
 * takes its time, and the calls of communication go one after the other beside it, as optim/shards.h makes
 * them. What the passes wait for is what does not hide. A call takes what its bytes take, and the steps of a
 * ring through all ranks. */
#include "base/memory.h"
#include "model/model.h"
#include "optim/shard_layout.h"
#include "train/plan_parts.h"
#include <math.h>
#include <stdlib.h>

/* One acquire of a unit in a pass, up to its release. */
typedef struct visit {
    int unit;
    double seconds;
    bool weights; /* acquires them */
    bool done;    /* releases the gradient */
} visit;

/* A step as it is played. */
typedef struct play {
    const plan_run *r;
    shards_settings set;
    shard_layout layout;
    ops k;
    visit *visit;
    int visits;        /* of a micro-batch */
    double computed;   /* the clock of the passes */
    double sent;       /* when the last call is done */
    double busy;       /* seconds of all calls */
    double bytes;      /* sent by a rank */
    double *ready;     /* (units) when the weights are there: stages 1 and 2 */
    int side[2];       /* stage 3: the units that are there; -1: none */
    double there[2];   /* and when they are */
    int last;          /* the side that was taken last */
    double reduced[2]; /* when the reductions of the last two units are done */
} play;

/* Until a call has gone round the ring. */
static double ring_seconds(const plan_run *r)
{
    const plan_machine *m = &r->machine;
    const int across = (r->ranks - 1) / m->host_ranks, inside = r->ranks - 1 - across;
    return m->call + inside * m->step_inside + across * m->step_across;
}

/* A call that sends `bytes`; returns when it is done. */
static double call(play *x, double bytes)
{
    const double seconds = bytes / plan_bandwidth(x->r) + ring_seconds(x->r);
    x->sent = fmax(x->sent, x->computed) + seconds;
    x->busy += seconds;
    x->bytes += bytes;
    return x->sent;
}

/* The bytes that a rank sends where every rank gets, or gives, the others' parts of a unit. */
static double unit_bytes(const play *x, int u, dtype type)
{
    const double ranks = x->r->ranks;
    return (double)(x->layout.padded[u] * dtype_bytes(type)) * (ranks - 1) / ranks;
}

static void gather(play *x, int u)
{
    x->last = !x->last;
    x->side[x->last] = u;
    x->there[x->last] = call(x, unit_bytes(x, u, x->k.act));
}

static bool is_there(const play *x, int u) { return x->side[0] == u || x->side[1] == u; }

/* Stage 3. `next`: the unit that is visited then, -1: none. */
static void acquire_cut(play *x, int u, int next)
{
    if (!is_there(x, u)) gather(x, u);
    const int side = x->side[1] == u;
    x->computed = fmax(x->computed, x->there[side]);
    x->last = side;
    if (next >= 0 && !is_there(x, next)) gather(x, next);
}

static void acquire(play *x, const visit *v, int next)
{
    if (!v->weights) return;
    if (x->set.stage == 3)
        acquire_cut(x, v->unit, next);
    else
        x->computed = fmax(x->computed, x->ready[v->unit]);
}

/* The gradient of a unit is complete for this micro-batch. */
static void reduce(play *x, int u)
{
    x->computed = fmax(x->computed, x->reduced[0]); /* a side is free when its unit has been reduced */
    x->reduced[0] = x->reduced[1];
    x->reduced[1] = call(x, unit_bytes(x, u, x->set.how.sent));
    if (x->set.stage == 0 && !x->set.how.pairwise) call(x, unit_bytes(x, u, x->k.real));
}

static bool reduces(const play *x, int64_t micro_batch)
{
    return x->set.stage >= 2 || x->set.how.pairwise || micro_batch + 1 == x->set.micro_batches;
}

/* The unit whose weights are needed behind visit i; those of the next micro-batch begin anew. */
static int next_unit(const play *x, int i, bool last)
{
    while (++i < x->visits)
        if (x->visit[i].weights && x->visit[i].unit != x->side[x->last]) return x->visit[i].unit;
    return last ? -1 : x->visit[0].unit;
}

static void micro_batch(play *x, int64_t number)
{
    const bool last = number + 1 == x->set.micro_batches;
    for (int i = 0; i < x->visits; i++) {
        const visit *v = &x->visit[i];
        acquire(x, v, next_unit(x, i, last));
        x->computed += v->seconds;
        if (v->done && reduces(x, number)) reduce(x, v->unit);
    }
}

/* Losses of micro-batches; squares of segments, where a rank has its own alone; and the number of targets,
 * which hosts exchange and GPUs do not. */
static double sums_bytes(const play *x)
{
    const double ranks = x->r->ranks, losses = (double)x->set.micro_batches * ranks,
                 squares = x->set.stage > 0 ? (double)x->layout.first[x->layout.num_units] : 0;
    return x->r->machine.gpu ? 8 * (losses + squares) * 2 * (ranks - 1) / ranks
                             : 8 * (losses + squares + 1) * (ranks - 1);
}

static void step(play *x)
{
    const int count = x->layout.num_units;
    /* What the update before has left to be sent. */
    if (x->set.stage == 1 || x->set.stage == 2)
        for (int u = 0; u < count; u++) x->ready[u] = call(x, unit_bytes(x, u, x->k.act));
    if (x->set.stage == 3) gather(x, 0);
    for (int64_t i = 0; i < x->set.micro_batches; i++) micro_batch(x, i);
    if (x->set.stage == 0 && x->set.how.pairwise)
        for (int u = 0; u < count; u++) call(x, unit_bytes(x, u, x->k.real));
    x->computed = call(x, sums_bytes(x)); /* behind all others */
}

/* Shares of a micro-batch's seconds: a layer, forward, is 1, and backward twice that, or three times where it
 * computes the layer again. */
static void visits_make(play *x, double seconds)
{
    const dims *d = x->r->d;
    const double layer = model_layer_flops_per_token(d, x->r->o->train_seq_len) / 3,
                 head = model_flops_per_token(d, x->r->o->train_seq_len) / 3 - layer * (double)d->L,
                 again = x->r->o->train_recompute == OPTION_train_recompute_layer ? 1 : 0,
                 one = seconds / (3 * head + (3 + again) * layer * (double)d->L);
    const int end = x->layout.num_units - 1;
    visit *v = x->visit;
    for (int u = 0; u < end; u++) *v++ = (visit){u, u ? layer * one : 0, true, false};
    *v++ = (visit){end, 0, true, false};
    *v++ = (visit){d->tied ? 0 : end, 3 * head * one, true, false};
    *v++ = (visit){end, 0, true, true};
    for (int u = end - 1; u > 0; u--) *v++ = (visit){u, (2 + again) * layer * one, true, true};
    *v++ = (visit){0, 0, false, true};
    x->visits = (int)(v - x->visit);
}

void plan_exchange(plan *p, const plan_run *r)
{
    if (r->ranks == 1) return;
    param_table table;
    play x = {.r = r, .set = plan_shards(r), .k = plan_ops(r), .side = {-1, -1}};
    param_table_init(&table, r->d);
    shard_layout_init(&x.layout, &table, r->ranks, 0);
    x.visit = memory_new(2 * table.num_units + 2, sizeof *x.visit, "the units of a pass");
    x.ready = memory_new(table.num_units, sizeof *x.ready, "the units of a model");
    visits_make(&x, p->seconds.compute / (double)x.set.micro_batches);
    step(&x);
    p->bytes_sent = x.bytes;
    p->seconds.communication = x.busy;
    p->seconds.hidden = p->seconds.compute + x.busy - x.computed;
    free(x.ready);
    free(x.visit);
    shard_layout_free(&x.layout);
    param_table_free(&table);
}
