/* AdamW over units that are cut evenly over ranks. A rank's slice of a unit is elements [rank*shard,
 * (rank+1)*shard). Its summed gradient and its new weights lie at the slice's own place in the unit's memory;
 * m, v and masters exist for the slice only. Padding at the end of a unit belongs to no parameter: nothing
 * ever writes there, so it stays zero and counts nothing in norms. */
#include "optim/optimizer.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>

static int64_t shard_of(const optimizer *o, int u) { return o->weight[u].dim[0] / o->c->size; }

static tensor slice_of(const optimizer *o, const tensor *whole, int u)
{
    return tensor_slice(whole, o->c->rank * shard_of(o, u), shard_of(o, u));
}

static void unit_check(const optimizer *o, int u)
{
    const int64_t numel = o->weight[u].dim[0], multiple = 16 * o->c->size;
    REQUIRE(numel % multiple == 0 && numel >= o->table->unit_numel[u],
            "unit %d has %lld elements, expected %lld padded to a multiple of %lld", u, (long long)numel,
            (long long)o->table->unit_numel[u], (long long)multiple);
    tensor_require_shape(__func__, &o->weight[u], o->k->act, 1, &numel);
    tensor_require_shape(__func__, &o->grad[u], o->k->real, 1, &numel);
}

static bool has_masters(const optimizer *o) { return o->k->act != o->k->real; }

void optimizer_init(optimizer *o, const ops *k, const comm *c, const comm *tensors, const param_table *table,
                    const tensor *weight, const tensor *grad, arena *a)
{
    o->k = k;
    o->c = c;
    o->tensors = tensors;
    o->table = table;
    o->weight = weight;
    o->grad = grad;
    o->m = memory_new(table->num_units, sizeof *o->m, "the list of %d units", table->num_units);
    o->v = memory_new(table->num_units, sizeof *o->v, "the list of %d units", table->num_units);
    o->master = memory_new(table->num_units, sizeof *o->master, "the list of %d units", table->num_units);
    for (int u = 0; u < table->num_units; u++) {
        unit_check(o, u);
        o->m[u] = arena_tensor(a, k->real, "m", shard_of(o, u));
        o->v[u] = arena_tensor(a, k->real, "v", shard_of(o, u));
        o->master[u] =
            has_masters(o) ? arena_tensor(a, k->real, "master", shard_of(o, u)) : slice_of(o, &weight[u], u);
        if (!a->base) continue;
        k->zero(&o->m[u], k->stream);
        k->zero(&o->v[u], k->stream);
    }
    o->summed = (comm_ticket){0};
    o->squares = arena_tensor(a, F64, "squares", table->num_units);
    o->factor = arena_tensor(a, F64, "factor", 1);
    o->norm = arena_tensor(a, F64, "norm", 1);
}

void optimizer_free(optimizer *o)
{
    free(o->m);
    free(o->v);
    free(o->master);
    o->m = o->v = o->master = NULL;
}

static tensor grad_acquire(void *owner, int u) { return ((const optimizer *)owner)->grad[u]; }

static const reduction in_rank_order = {.sent = F32};

/* Sums over ranks into this rank's slice. */
static void grad_reduce(void *owner, int u)
{
    optimizer *o = owner;
    if (o->c->size == 1) return;
    const tensor grad = o->grad[u], mine = slice_of(o, &grad, u);
    REQUIRE(grad.type == F32, "gradients of type %s between ranks", dtype_name(grad.type));
    o->summed = comm_reduce_scatter(o->tensors, mine.data, grad.data, shard_of(o, u), &in_rank_order);
}

static void grad_keep(void *owner, int u) { (void)owner, (void)u; }

units optimizer_gradients(optimizer *o, bool last)
{
    return (units){.acquire = grad_acquire, .release = last ? grad_reduce : grad_keep, .owner = o};
}

void optimizer_clip(optimizer *o, tensor *loss, double mean, double limit)
{
    const ops *k = o->k;
    comm_wait(o->tensors, o->summed); /* the sums of the last units may be on their way */
    for (int u = 0; u < o->table->num_units; u++) {
        const tensor mine = slice_of(o, &o->grad[u], u);
        tensor square = tensor_slice(&o->squares, u, 1);
        k->squared_norms(&square, &mine, k->stream);
    }
    comm_sum_f64(o->tensors, loss->data, 1);
    comm_wait(o->tensors,
              comm_sum_f64(o->tensors, o->squares.data, o->table->num_units)); /* and so for the loss */
    k->clip_factor(&o->factor, &o->norm, loss, &o->squares, mean, limit, k->stream);
}

double optimizer_norm(const optimizer *o)
{
    double norm;
    o->k->download_f64(&norm, &o->norm, o->k->stream);
    return norm;
}

/* Updates the part of a parameter that lies in this rank's slice. */
static void param_update(optimizer *o, const param *p, adamw_scalars *a)
{
    const int u = p->unit;
    const int64_t low = o->c->rank * shard_of(o, u), high = low + shard_of(o, u);
    const int64_t end = p->offset + p->numel;
    const int64_t from = p->offset > low ? p->offset : low, count = (end < high ? end : high) - from;
    if (count <= 0) return;
    tensor weight = tensor_slice(&o->weight[u], from, count);
    tensor master = tensor_slice(&o->master[u], from - low, count),
           m = tensor_slice(&o->m[u], from - low, count), v = tensor_slice(&o->v[u], from - low, count);
    const tensor grad = tensor_slice(&o->grad[u], from, count);
    a->decay = p->rank == 2 ? o->decay : 0;
    o->k->adamw_update(&weight, &master, &m, &v, &grad, &o->factor, a, o->k->stream);
}

void optimizer_update(optimizer *o, double rate, int64_t step)
{
    adamw_scalars a = {.rate = rate, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .step = step};
    const param_table *t = o->table;
    comm_ticket gathered = {0}; /* the last unit */
    for (int u = 0; u < t->num_units; u++) {
        for (int i = t->unit_first[u]; i < t->unit_first[u + 1]; i++) param_update(o, &t->param[i], &a);
        if (o->c->size == 1) continue;
        /* Travels while the next unit is updated. */
        const tensor weight = o->weight[u], mine = slice_of(o, &weight, u);
        gathered =
            comm_all_gather(o->tensors, weight.data, mine.data, shard_of(o, u) * dtype_bytes(weight.type));
    }
    comm_wait(o->tensors, gathered);
}

void optimizer_zero_grad(optimizer *o)
{
    for (int u = 0; u < o->table->num_units; u++) {
        tensor grad = o->grad[u];
        o->k->zero(&grad, o->k->stream);
    }
}

static tensor part_of(const optimizer *o, optim_part part, int u)
{
    switch (part) {
    case OPTIM_M:
        return o->m[u];
    case OPTIM_V:
        return o->v[u];
    case OPTIM_MASTER:
        return o->master[u];
    case OPTIM_GRAD:
        break;
    }
    return slice_of(o, &o->grad[u], u);
}

void optimizer_gather(optimizer *o, optim_part part, int u, float *full)
{
    const tensor mine = part_of(o, part, u);
    float *own = full + o->c->rank * shard_of(o, u);
    o->k->download(own, &mine, o->k->stream);
    comm_wait(o->c, comm_all_gather(o->c, full, own, shard_of(o, u) * (int64_t)sizeof(float)));
}

void optimizer_set(optimizer *o, optim_part part, int u, const float *full)
{
    tensor mine = part_of(o, part, u), weight = o->weight[u];
    o->k->upload(&mine, full + o->c->rank * shard_of(o, u), o->k->stream);
    if (part == OPTIM_MASTER) o->k->upload(&weight, full, o->k->stream);
}
