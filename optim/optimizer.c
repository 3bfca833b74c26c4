/* AdamW over units that are cut evenly over ranks. A rank's slice of a unit is elements [rank*shard,
 * (rank+1)*shard). Its summed gradient and its new weights lie at the slice's own place in the unit's memory;
 * m, v and masters exist for the slice only. Padding at the end of a unit belongs to no span: nothing ever
 * writes there, so it stays zero and counts nothing in norms. */
#include "optim/optimizer.h"
#include "base/status.h"
#include <math.h>
#include <stdlib.h>

static int64_t shard_of(const optimizer *o, int u) { return o->unit[u].weight.dim[0] / o->c->size; }

static tensor slice_of(const optimizer *o, const tensor *whole, int u)
{
    return tensor_slice(whole, o->c->rank * shard_of(o, u), shard_of(o, u));
}

static void unit_check(const optimizer *o, const optim_unit *u)
{
    const int64_t numel = u->weight.dim[0], multiple = 16 * o->c->size;
    REQUIRE(numel % multiple == 0, "unit %s has %lld elements, expected a multiple of %lld", u->name,
            (long long)numel, (long long)multiple);
    require_shape(__func__, &u->weight, o->k->act, 1, &numel);
    require_shape(__func__, &u->grad, o->k->real, 1, &numel);
    for (int i = 0; i < u->spans; i++)
        REQUIRE(u->span[i].from >= 0 && u->span[i].count >= 0 && u->span[i].from + u->span[i].count <= numel,
                "unit %s: span %d reaches beyond its %lld elements", u->name, i, (long long)numel);
}

static bool has_masters(const optimizer *o) { return o->k->act != o->k->real; }

void optimizer_init(optimizer *o, const ops *k, const comm *c, const comm *tensors, const optim_unit *unit,
                    int num_units, arena *a)
{
    o->k = k;
    o->c = c;
    o->tensors = tensors;
    o->num_units = num_units;
    o->unit = malloc(sizeof *o->unit * (size_t)num_units);
    o->m = malloc(sizeof *o->m * (size_t)num_units);
    o->v = malloc(sizeof *o->v * (size_t)num_units);
    o->master = malloc(sizeof *o->master * (size_t)num_units);
    if (!o->unit || !o->m || !o->v || !o->master)
        die(ERR_DEVICE, "no memory for the list of %d units", num_units);
    for (int u = 0; u < num_units; u++) {
        unit_check(o, &unit[u]);
        o->unit[u] = unit[u];
        o->m[u] = arena_tensor(a, k->real, "m", shard_of(o, u));
        o->v[u] = arena_tensor(a, k->real, "v", shard_of(o, u));
        o->master[u] = has_masters(o) ? arena_tensor(a, k->real, "master", shard_of(o, u))
                                      : slice_of(o, &unit[u].weight, u);
        if (!a->base) continue;
        k->zero(&o->m[u], k->stream);
        k->zero(&o->v[u], k->stream);
    }
    o->summed = (comm_ticket){0};
    o->squares = arena_tensor(a, F64, "squares", 1);
    o->factor = arena_tensor(a, F64, "factor", 1);
}

void optimizer_free(optimizer *o)
{
    free(o->unit);
    free(o->m);
    free(o->v);
    free(o->master);
    o->unit = NULL;
    o->m = o->v = o->master = NULL;
}

void optimizer_reduce(optimizer *o, int u)
{
    if (o->c->size == 1) return;
    const tensor grad = o->unit[u].grad, mine = slice_of(o, &grad, u);
    REQUIRE(grad.type == F32, "gradients of type %s between ranks", dtype_name(grad.type));
    o->summed = comm_reduce_scatter_f32(o->tensors, mine.data, grad.data, shard_of(o, u));
}

void optimizer_clip(optimizer *o, tensor *loss, double mean, double limit)
{
    const ops *k = o->k;
    comm_wait(o->tensors, o->summed); /* the sums of the last units may be on their way */
    k->zero(&o->squares, k->stream);
    for (int u = 0; u < o->num_units; u++) {
        const tensor mine = slice_of(o, &o->unit[u].grad, u);
        k->squared_norm(&o->squares, &mine, k->stream);
    }
    comm_sum_f64(o->tensors, loss->data, 1);
    comm_wait(o->tensors, comm_sum_f64(o->tensors, o->squares.data, 1)); /* and so for the loss */
    k->clip_factor(&o->factor, loss, &o->squares, mean, limit, k->stream);
}

double optimizer_norm(const optimizer *o, double mean)
{
    double squares;
    o->k->download_f64(&squares, &o->squares, o->k->stream);
    return sqrt(squares) * mean;
}

/* Updates the part of a span that lies in this rank's slice. */
static void span_update(optimizer *o, int u, const optim_span *span, adamw_scalars *a)
{
    const int64_t low = o->c->rank * shard_of(o, u), high = low + shard_of(o, u);
    const int64_t span_end = span->from + span->count;
    const int64_t from = span->from > low ? span->from : low,
                  count = (span_end < high ? span_end : high) - from;
    if (count <= 0) return;
    tensor weight = tensor_slice(&o->unit[u].weight, from, count);
    tensor master = tensor_slice(&o->master[u], from - low, count),
           m = tensor_slice(&o->m[u], from - low, count), v = tensor_slice(&o->v[u], from - low, count);
    const tensor grad = tensor_slice(&o->unit[u].grad, from, count);
    a->decay = span->decay ? o->decay : 0;
    o->k->adamw_update(&weight, &master, &m, &v, &grad, &o->factor, a, o->k->stream);
}

void optimizer_update(optimizer *o, double rate, int64_t step)
{
    adamw_scalars a = {.rate = rate, .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .step = step};
    comm_ticket gathered = {0}; /* the last unit */
    for (int u = 0; u < o->num_units; u++) {
        for (int i = 0; i < o->unit[u].spans; i++) span_update(o, u, &o->unit[u].span[i], &a);
        if (o->c->size == 1) continue;
        /* Travels while the next unit is updated. */
        const tensor weight = o->unit[u].weight, mine = slice_of(o, &weight, u);
        gathered =
            comm_all_gather(o->tensors, weight.data, mine.data, shard_of(o, u) * dtype_bytes(weight.type));
    }
    comm_wait(o->tensors, gathered);
}

void optimizer_zero_grad(optimizer *o)
{
    for (int u = 0; u < o->num_units; u++) o->k->zero(&o->unit[u].grad, o->k->stream);
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
    return slice_of(o, &o->unit[u].grad, u);
}

void optimizer_gather(optimizer *o, optim_part part, int u, float *full)
{
    const tensor mine = part_of(o, part, u);
    float *own = full + o->c->rank * shard_of(o, u);
    o->k->download(own, &mine, o->k->stream);
    comm_all_gather(o->c, full, own, shard_of(o, u) * (int64_t)sizeof(float));
}

void optimizer_scatter(optimizer *o, optim_part part, int u, const float *full)
{
    tensor mine = part_of(o, part, u);
    o->k->upload(&mine, full + o->c->rank * shard_of(o, u), o->k->stream);
    if (part == OPTIM_MASTER) o->k->upload(&o->unit[u].weight, full, o->k->stream);
}
