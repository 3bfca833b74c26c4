/* AdamW over the parts of units that this rank updates. Padding at the end of a unit belongs to no parameter:
 * nothing ever writes there, so it stays zero and counts nothing in norms. */
#include "optim/optimizer.h"
#include "base/memory.h"
#include "base/status.h"
#include <math.h>
#include <stdlib.h>

static bool has_masters(const optimizer *o) { return o->k->act != o->k->real; }

static int64_t all_micro_batches(const optimizer *o) { return o->s->set.micro_batches * o->c->size; }

void optimizer_init(optimizer *o, const comm *c, shards *s, arena *a)
{
    const int n = s->table->num_units;
    const dtype real = s->k->real;
    o->k = s->k;
    o->c = c;
    o->s = s;
    o->m = memory_new(n, sizeof *o->m, "the list of %d units", n);
    o->v = memory_new(n, sizeof *o->v, "the list of %d units", n);
    o->master = memory_new(n, sizeof *o->master, "the list of %d units", n);
    for (int u = 0; u < n; u++) {
        o->m[u] = arena_tensor(a, real, "m", shards_part(s, u));
        o->v[u] = arena_tensor(a, real, "v", shards_part(s, u));
        o->master[u] =
            has_masters(o) ? arena_tensor(a, real, "master", shards_part(s, u)) : shards_weight_part(s, u);
        if (!a->base) continue;
        o->k->zero(&o->m[u], o->k->stream);
        o->k->zero(&o->v[u], o->k->stream);
    }
    o->losses = arena_tensor(a, F64, "losses", all_micro_batches(o));
    o->squares = arena_tensor(a, F64, "squares", s->layout.first[n]);
    o->factor = arena_tensor(a, F64, "factor", 1);
    o->norm = arena_tensor(a, F64, "norm", 1);
}

void optimizer_reserve(optimizer *o, const comm *c, shards *s, arena *a)
{
    arena size = {.name = a->name};
    optimizer_init(o, c, s, &size);
    optimizer_free(o);
    arena_reserve(a, size.used);
    optimizer_init(o, c, s, a);
}

void optimizer_free(optimizer *o)
{
    free(o->m);
    free(o->v);
    free(o->master);
    o->m = o->v = o->master = NULL;
}

/* ---- a step --------------------------------------------------------------------------------------------- */

void optimizer_begin(optimizer *o) { o->k->zero(&o->losses, o->k->stream); }

tensor optimizer_loss(const optimizer *o, int64_t micro_batch)
{
    return tensor_rows(&o->losses, micro_batch * o->c->size + o->c->rank, 1);
}

/* The squares of the segments of a unit that this rank has. */
static tensor squares_of(const optimizer *o, int u)
{
    const shard_layout *l = &o->s->layout;
    const int64_t segment = l->padded[u] / l->segments[u];
    return tensor_rows(&o->squares, l->first[u] + shards_before(o->s, u) / segment,
                       shards_part(o->s, u) / segment);
}

void optimizer_clip(optimizer *o, double mean, double limit)
{
    const ops *k = o->k;
    const comm *ranks = o->s->c;
    shards_sum(o->s);
    k->zero(&o->squares, k->stream);
    for (int u = 0; u < o->s->table->num_units; u++) {
        tensor squares = squares_of(o, u);
        const tensor grad = shards_gradient_part(o->s, u);
        k->squared_norms(&squares, &grad, k->stream);
    }
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

/* Updates what this rank has of a parameter. */
static void param_update(optimizer *o, const param *p, adamw_scalars *a)
{
    const int u = p->unit;
    const int64_t low = shards_before(o->s, u), high = low + shards_part(o->s, u);
    const int64_t end = p->offset + p->numel;
    const int64_t from = p->offset > low ? p->offset : low, count = (end < high ? end : high) - from;
    if (count <= 0) return;
    const tensor weights = shards_weight_part(o->s, u), gradient = shards_gradient_part(o->s, u);
    tensor weight = tensor_slice(&weights, from - low, count),
           master = tensor_slice(&o->master[u], from - low, count),
           m = tensor_slice(&o->m[u], from - low, count), v = tensor_slice(&o->v[u], from - low, count);
    const tensor grad = tensor_slice(&gradient, from - low, count);
    a->decay = p->rank == 2 ? o->decay : 0;
    o->k->adamw_update(&weight, &master, &m, &v, &grad, &o->factor, a, o->k->stream);
}

void optimizer_update(optimizer *o, double rate, int64_t step)
{
    adamw_scalars a = {.rate = rate, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .step = step};
    const param_table *t = o->s->table;
    for (int u = 0; u < t->num_units; u++) {
        for (int i = t->unit_first[u]; i < t->unit_first[u + 1]; i++) param_update(o, &t->param[i], &a);
        shards_updated(o->s, u); /* travels while the next unit is updated */
    }
}

/* ---- whole units ---------------------------------------------------------------------------------------- */

static tensor part_of(const optimizer *o, optim_part part, int u)
{
    switch (part) {
    case OPTIM_M:
        return o->m[u];
    case OPTIM_V:
        return o->v[u];
    case OPTIM_MASTER:
        return has_masters(o) ? o->master[u] : shards_weight_part(o->s, u);
    case OPTIM_GRAD:
        break;
    }
    return shards_gradient_part(o->s, u);
}

void optimizer_gather(optimizer *o, optim_part part, int u, float *full)
{
    const tensor mine = part_of(o, part, u);
    float *own = full + shards_before(o->s, u);
    o->k->download(own, &mine, o->k->stream);
    if (shards_cut(o->s))
        comm_wait(o->c, comm_all_gather(o->c, full, own, shards_part(o->s, u) * (int64_t)sizeof(float)));
}

void optimizer_set(optimizer *o, optim_part part, int u, const float *full)
{
    tensor mine = part_of(o, part, u);
    o->k->upload(&mine, full + shards_before(o->s, u), o->k->stream);
    if (part == OPTIM_MASTER) shards_set(o->s, u, full);
}
