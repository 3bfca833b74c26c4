/* AdamW over the parts of units that this rank updates. Padding at the end of a unit belongs to no parameter:
 * nothing ever writes there, so it stays zero and counts nothing in norms. */
#include "optim/optimizer.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>

static bool has_masters(const optimizer *o) { return o->states.kinds == STATE_KINDS; }

static int64_t all_micro_batches(const optimizer *o) { return o->s->set.micro_batches * o->c->size; }

void optimizer_init(optimizer *o, const comm *c, shards *s, arena *a)
{
    o->k = s->k;
    o->c = c;
    o->s = s;
    states_init(&o->states, s, a, o->offload);
    o->losses = arena_tensor(a, F64, "losses", all_micro_batches(o));
    o->squares = arena_tensor(a, F64, "squares", s->layout.first[s->table->num_units]);
    o->factor = arena_tensor(a, F64, "factor", 1);
    o->norm = arena_tensor(a, F64, "norm", 1);
    o->fingerprints = arena_tensor(a, U64, "fingerprints", s->table->num_units);
}

void optimizer_reserve(optimizer *o, const comm *c, shards *s, arena *a)
{
    arena size = {.name = a->name}, offloaded = {.pinned = true}, *const offload = o->offload;
    if (offload) o->offload = &offloaded;
    optimizer_init(o, c, s, &size);
    optimizer_free(o);
    o->offload = offload;
    arena_reserve(a, size.used);
    if (offload) arena_reserve(offload, offloaded.used);
    optimizer_init(o, c, s, a);
}

void optimizer_free(optimizer *o) { states_free(&o->states); }

/* ---- a step -------------------------------------------------------------------------------------------- */

void optimizer_begin(optimizer *o) { o->k->zero(&o->losses, o->k->stream); }

tensor optimizer_loss(const optimizer *o, int64_t micro_batch)
{
    return tensor_rows(&o->losses, micro_batch * o->c->size + o->c->rank, 1);
}

/* Computes the squares of the segments of a unit that this rank has. Segments that are there only so that the
 * ranks divide them are left out: they are zero, and would move the others' places with the number of ranks.
 */
static void unit_squares(optimizer *o, int u)
{
    const shard_layout *l = &o->s->layout;
    const int64_t segment = l->padded[u] / l->segments[u], before = shards_before(o->s, u) / segment,
                  left = l->first[u + 1] - l->first[u] - before, mine = shards_part(o->s, u) / segment,
                  count = left < mine ? left : mine;
    if (count <= 0) return;
    const tensor part = shards_gradient_part(o->s, u), grad = tensor_rows(&part, 0, count * segment);
    tensor squares = tensor_rows(&o->squares, l->first[u] + before, count);
    o->k->squared_norms(&squares, &grad, o->k->stream);
}

void optimizer_clip(optimizer *o, double mean, double limit)
{
    const ops *k = o->k;
    const comm *ranks = o->s->c;
    shards_sum(o->s);
    k->zero(&o->squares, k->stream);
    for (int u = 0; u < o->s->table->num_units; u++) unit_squares(o, u);
    /* One rank has a number that is not zero for each place: these sums are exact in any order. */
    comm_ticket summed = comm_sum_f64(ranks, o->losses.data, tensor_numel(&o->losses));
    if (shards_cut(o->s)) summed = comm_sum_f64(ranks, o->squares.data, tensor_numel(&o->squares));
    comm_wait(ranks, summed); /* and for the call before */
    k->clip_factor(&o->factor, &o->norm, &o->losses, &o->squares, mean, limit, k->stream);
}

double optimizer_loss_sum(const optimizer *o)
{
    const int64_t count = all_micro_batches(o);
    double *loss = memory_new(count, sizeof *loss, "%lld losses", (long long)count), sum = 0;
    o->k->download_f64(loss, &o->losses, o->k->stream);
    for (int64_t g = 0; g < count; g++) sum += loss[g];
    free(loss);
    return sum;
}

double optimizer_norm(const optimizer *o)
{
    double norm;
    o->k->download_f64(&norm, &o->norm, o->k->stream);
    return norm;
}

/* Updates what lies of a parameter in a piece of the rank's part of its unit. */
static void param_update(optimizer *o, const param *p, const state_piece *x, adamw_scalars *a)
{
    const int64_t before = shards_before(o->s, x->unit), low = before + x->from, high = low + x->count;
    int64_t from, to;
    if (!param_within(p, low, high, &from, &to)) return;
    const int64_t count = to - from;
    const tensor weights = shards_weight_part(o->s, x->unit), gradient = shards_gradient_part(o->s, x->unit);
    const tensor grad = tensor_slice(&gradient, from - before, count);
    tensor weight = tensor_slice(&weights, from - before, count), master = weight,
           m = tensor_slice(&x->of[STATE_M], from - low, count),
           v = tensor_slice(&x->of[STATE_V], from - low, count);
    if (has_masters(o)) master = tensor_slice(&x->of[STATE_MASTER], from - low, count);
    a->decay = p->rank == 2 ? o->decay : 0;
    o->k->adamw_update(&weight, &master, &m, &v, &grad, &o->factor, a, o->k->stream);
}

static void unit_update(optimizer *o, int u, adamw_scalars *a)
{
    const param_table *t = o->s->table;
    for (int64_t from = 0; from < shards_part(o->s, u);) {
        const state_piece x = states_take(&o->states, u, from);
        for (int i = t->unit_first[u]; i < t->unit_first[u + 1]; i++) param_update(o, &t->param[i], &x, a);
        states_give_back(&o->states, &x);
        from += x.count;
    }
}

void optimizer_update(optimizer *o, double rate, int64_t step)
{
    adamw_scalars a = {.rate = rate, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .step = step};
    states_begin(&o->states);
    for (int u = 0; u < o->s->table->num_units; u++) {
        unit_update(o, u, &a);
        shards_updated(o->s, u); /* travels while the next unit is updated */
    }
}

/* ---- whole units --------------------------------------------------------------------------------------- */

/* The others: gradients, and weights that are their own masters. */
static tensor part_of(const optimizer *o, optim_part part, int u)
{
    return part == OPTIM_MASTER ? shards_weight_part(o->s, u) : shards_gradient_part(o->s, u);
}

tensor optimizer_part(const optimizer *o, optim_part part, int u)
{
    return optimizer_is_state(o, part) ? o->states.of[part][u] : part_of(o, part, u);
}

void optimizer_gather(optimizer *o, optim_part part, int u, float *full)
{
    float *own = full + shards_before(o->s, u);
    if (optimizer_is_state(o, part)) {
        states_read(&o->states, (state_kind)part, u, own);
    } else {
        const tensor mine = part_of(o, part, u);
        o->k->download(own, &mine, o->k->stream);
    }
    if (shards_cut(o->s))
        comm_wait(o->c, comm_all_gather(o->c, full, own, shards_part(o->s, u) * (int64_t)sizeof(float)));
}

void optimizer_set(optimizer *o, optim_part part, int u, const float *own)
{
    if (optimizer_is_state(o, part)) states_write(&o->states, (state_kind)part, u, own);
    if (optimizer_is_state(o, part) && part != OPTIM_MASTER) return;
    tensor mine = part_of(o, part, u);
    o->k->upload(&mine, own, o->k->stream);
}

void optimizer_masters_set(optimizer *o)
{
    for (int u = 0; u < o->s->table->num_units; u++) shards_updated(o->s, u);
}
