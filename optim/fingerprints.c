/* A fingerprint is a sum over units, parts and ranks: each is added where it lies, and only sums travel. */
#include "optim/fingerprints.h"
#include "base/memory.h"
#include <stdlib.h>

void fingerprints_begin(optimizer *o) { o->k->zero(&o->fingerprints, o->k->stream); }

/* Cuts the padding off a part of a unit that begins at `before`. */
static tensor without_padding(const optimizer *o, int u, const tensor *part, int64_t before)
{
    const int64_t left = o->s->table->unit_numel[u] - before, has = tensor_numel(part);
    return tensor_rows(part, 0, left < 0 ? 0 : left < has ? left : has);
}

/* Adds to `sum`, where `k` computes. `first`: the place of the model's first element. */
static void add_part(const optimizer *o, const ops *k, tensor sum, int u, const tensor *part, int64_t before,
                     int64_t first)
{
    const tensor inp = without_padding(o, u, part, before);
    k->fingerprint(&sum, &inp, first + param_table_before(o->s->table, u) + before, k->stream);
}

void fingerprints_add(optimizer *o, int u, const tensor *part, int64_t before)
{
    add_part(o, o->k, tensor_rows(&o->fingerprints, u, 1), u, part, before, 0);
}

void fingerprints_read(const optimizer *o, uint64_t *of)
{
    o->k->download_u64(of, &o->fingerprints, o->k->stream);
}

static uint64_t all_units(const optimizer *o)
{
    const int n = o->s->table->num_units;
    uint64_t *of = memory_new(n, sizeof *of, "fingerprints of %d units", n), sum = 0;
    fingerprints_read(o, of);
    for (int u = 0; u < n; u++) sum += of[u];
    free(of);
    return sum;
}

static uint64_t all_ranks(const optimizer *o, uint64_t mine)
{
    uint64_t *of = memory_new(o->c->size, sizeof *of, "fingerprints of %d ranks", o->c->size), sum = 0;
    comm_wait(o->c, comm_all_gather(o->c, of, &mine, sizeof mine));
    for (int r = 0; r < o->c->size; r++) sum += of[r];
    free(of);
    return sum;
}

void fingerprints_of_weights(optimizer *o)
{
    const units whole = shards_weights(o->s);
    const bool sliced = o->s->set.stage == 3;
    fingerprints_begin(o);
    for (int u = 0; u < o->s->table->num_units; u++) {
        const tensor t = sliced ? shards_weight_part(o->s, u) : units_acquire(&whole, u);
        fingerprints_add(o, u, &t, sliced ? shards_before(o->s, u) : 0);
        if (!sliced) units_release(&whole, u);
    }
}

uint64_t fingerprint_weights(optimizer *o)
{
    fingerprints_of_weights(o);
    return o->s->set.stage == 3 ? all_ranks(o, all_units(o)) : all_units(o);
}

/* Computes that of states in the memory of a device's host. */
static uint64_t offloaded(const optimizer *o, optim_part part, int64_t first)
{
    uint64_t all = 0;
    const tensor sum = tensor_of(&all, U64, "fingerprint", 1, (int64_t[]){1});
    device_copies_finish(o->k->device);
    for (int u = 0; u < o->s->table->num_units; u++)
        add_part(o, ops_cpu_f32(), sum, u, &o->states.of[part][u], shards_before(o->s, u), first);
    return all;
}

/* Computes that of states in memory of the ops, or of weights that are their own masters. */
static uint64_t beside_the_weights(optimizer *o, optim_part part, int64_t first)
{
    fingerprints_begin(o);
    for (int u = 0; u < o->s->table->num_units; u++) {
        const tensor t = optimizer_part(o, part, u);
        add_part(o, o->k, tensor_rows(&o->fingerprints, u, 1), u, &t, shards_before(o->s, u), first);
    }
    return all_units(o);
}

uint64_t fingerprint_states(optimizer *o, optim_part part)
{
    REQUIRE(part != OPTIM_GRAD, "the gradient is no state");
    const int64_t first = part == OPTIM_V ? param_table_numel(o->s->table) : 0;
    const uint64_t mine = optimizer_is_state(o, part) && o->states.offloaded
                              ? offloaded(o, part, first)
                              : beside_the_weights(o, part, first);
    return shards_cut(o->s) ? all_ranks(o, mine) : mine;
}
