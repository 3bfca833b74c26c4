/* Gradients of a model in training. Either the micro-batches add to whole units, which are summed over the
 * ranks once. Or each has a gradient of its own, which lies in one of two sides until it is summed over the
 * ranks:
 *
 *     acquire(8)   zero
 *     release(8)   start to sum it over the ranks
 *     acquire(7)   zero the other side; the pass computes while the sum of 8 is on its way
 *     release(7)   start ...
 *     acquire(6)   wait for the sum of 8, add this rank's slice of it to those of earlier micro-batches
 *
 * Sums over micro-batches are those of a binary counter where they are pairwise. Level j is a sum of 2^j of
 * them, and is in use while bit j of the count is 1: one more is added to level 0 and carries on through all
 * levels that are in use, as 1 added to 0111 does. The first rows of 5 micro-batches, and the end:
 *
 *     count  level 0    level 1        level 2
 *       1    0
 *       2               0+1
 *       3    2          0+1
 *       4                              (0+1)+(2+3)
 *       5    4                         (0+1)+(2+3)       end: level 2 + level 0
 */
#include "optim/shard_parts.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>

/* Every micro-batch has a gradient of its own. */
static bool single(const shards *s) { return s->set.stage >= 2 || s->set.how.pairwise; }

static int levels_of(const shards_settings *set)
{
    int levels = 1;
    while (set->how.pairwise && set->micro_batches >> levels) levels++;
    return levels;
}

void shard_gradients_init(shards *s, arena *a)
{
    const int n = s->layout.num_units, head = s->table->head_unit;
    const int64_t before = a->used;
    const dtype real = s->k->real;
    REQUIRE(real == F32 || (s->c->size == 1 && s->set.how.sent == F32), "gradients of type %s between ranks",
            dtype_name(real));
    s->grad_held = memory_new(n, sizeof *s->grad_held, "a list of %d units", n);
    s->levels = levels_of(&s->set);
    if (s->set.stage == 0 || !single(s)) s->whole = shard_list(s, real, "gradients", true, a);
    for (int j = 0; j < s->levels; j++) {
        const bool inside = s->whole && j + 1 == s->levels;
        s->level[j] = inside ? memory_new(n, sizeof *s->level[j], "a list of %d units", n)
                             : shard_list(s, real, "gradients", false, a);
        for (int u = 0; u < n && inside; u++) s->level[j][u] = shard_of(s, &s->whole[u], u);
    }
    s->bytes.gradients = a->used - before;
    /* The gradient of a tied model's head is held until that of the embedding is there, too. */
    if (single(s))
        two_sides_init(&s->grad_sides, real, n, s->layout.padded, NO_UNIT, head < n - 1 ? head : NO_UNIT, a);
    s->bytes.sides += a->used - before - s->bytes.gradients;
}

/* Sums `full` over the ranks, into this rank's slice `out`. */
static void reduce(shards *s, const tensor *out, const tensor *full)
{
    if (full->type == F32)
        s->reduced = comm_reduce_scatter(s->c, out->data, full->data, tensor_numel(out), &s->set.how);
    else
        shard_gather(s, out, full); /* one rank: a copy */
}

/* Brings the other ranks' slices of the sum. */
static void gather(shards *s, int u)
{
    const tensor whole = s->whole[u], mine = shard_of(s, &whole, u);
    if (s->c->size > 1) s->reduced = shard_gather(s, &whole, &mine);
}

/* ---- a gradient for all micro-batches ------------------------------------------------------------------ */

static tensor whole_acquire(void *owner, int u)
{
    shards *s = owner;
    if (!s->grad_held[u] && s->micro_batch <= 0) s->k->zero(&s->whole[u], s->k->stream);
    s->grad_held[u] = true;
    return s->whole[u];
}

static void whole_release(void *owner, int u)
{
    shards *s = owner;
    REQUIRE(s->grad_held[u], "the gradient of unit %d is released, but was not acquired", u);
    s->grad_held[u] = false;
    if (s->micro_batch + 1 < s->set.micro_batches) return;
    reduce(s, &s->level[0][u], &s->whole[u]);
    if (!shards_cut(s)) gather(s, u);
}

/* ---- a gradient for each micro-batch ------------------------------------------------------------------- */

/* Nothing is in level 0 when micro-batch i comes: its sum over the ranks goes there at once. */
static bool goes_to_level(const shards *s, int64_t i) { return s->set.how.pairwise ? i % 2 == 0 : i == 0; }

/* Adds micro-batch i of a unit to the sums. `mine`: this rank's slice of it, which is overwritten. */
static void add_micro_batch(shards *s, int u, int64_t i, tensor mine)
{
    const ops *k = s->k;
    if (!s->set.how.pairwise) {
        k->add(&s->level[0][u], &s->level[0][u], &mine, k->stream);
        return;
    }
    tensor carry = mine;
    for (int j = 0; i >> j & 1; j++) {
        tensor to = i >> (j + 1) & 1 ? mine : s->level[j + 1][u];
        k->add(&to, &s->level[j][u], &carry, k->stream);
        carry = to;
    }
}

/* Ends what is going on in a place. */
static void settle(shards *s, int p)
{
    unit_place *here = &s->grad_sides.place[p];
    if (here->unit == NO_UNIT) return;
    REQUIRE(!s->grad_held[here->unit], "the gradient of unit %d is held when its place is needed",
            here->unit);
    const tensor full = two_sides_tensor(&s->grad_sides, p);
    comm_wait(s->c, here->ticket);
    if (!goes_to_level(s, here->pass))
        add_micro_batch(s, here->unit, here->pass, shard_of(s, &full, here->unit));
    shard_poison(s, &full);
    here->unit = NO_UNIT;
}

static tensor side_acquire(void *owner, int u)
{
    shards *s = owner;
    two_sides *x = &s->grad_sides;
    if (!s->grad_held[u]) {
        const int p = two_sides_choose(x, u), before = two_sides_find(x, u);
        if (before != NO_PLACE) settle(s, before);
        settle(s, p);
        if (two_sides_covers(x, u)) settle(s, 1 - p);
        two_sides_take(x, u);
        tensor full = two_sides_tensor(x, p);
        s->k->zero(&full, s->k->stream);
        s->grad_held[u] = true;
    }
    return two_sides_tensor(x, two_sides_find(x, u));
}

static void side_release(void *owner, int u)
{
    shards *s = owner;
    two_sides *x = &s->grad_sides;
    REQUIRE(s->grad_held[u], "the gradient of unit %d is released, but was not acquired", u);
    const int p = two_sides_find(x, u);
    const tensor full = two_sides_tensor(x, p), mine = shard_of(s, &full, u);
    s->grad_held[u] = false;
    reduce(s, goes_to_level(s, s->micro_batch) ? &s->level[0][u] : &mine, &full);
    x->place[p].ticket = s->reduced;
    x->place[p].pass = s->micro_batch;
}

/* ---- a gradient that is not summed --------------------------------------------------------------------- */

static void unsummed_release(void *owner, int u)
{
    shards *s = owner;
    two_sides *x = &s->grad_sides;
    REQUIRE(s->grad_held[u], "the gradient of unit %d is released, but was not acquired", u);
    s->grad_held[u] = false;
    if (!single(s)) return;
    const int p = two_sides_find(x, u);
    const tensor full = two_sides_tensor(x, p);
    shard_poison(s, &full);
    x->place[p].unit = NO_UNIT;
}

units shards_gradients_unsummed(shards *s)
{
    s->micro_batch = -1; /* before the first */
    return (units){
        .acquire = single(s) ? side_acquire : whole_acquire, .release = unsummed_release, .owner = s};
}

/* ---- all ----------------------------------------------------------------------------------------------- */

units shards_gradients(shards *s, int64_t micro_batch)
{
    s->micro_batch = micro_batch;
    return single(s) ? (units){.acquire = side_acquire, .release = side_release, .owner = s}
                     : (units){.acquire = whole_acquire, .release = whole_release, .owner = s};
}

/* Adds the levels that are left, from the smallest block to the largest, which is the last level. */
static void fold(shards *s, int u)
{
    const tensor *carry = NULL;
    for (int j = 0; j < s->levels; j++) {
        if (!(s->set.micro_batches >> j & 1)) continue;
        tensor *here = &s->level[j][u];
        if (carry) s->k->add(here, here, carry, s->k->stream);
        carry = here;
    }
}

void shards_sum(shards *s)
{
    if (single(s)) {
        for (int p = 0; p < PLACES; p++) settle(s, p);
        for (int u = 0; u < s->layout.num_units; u++) {
            if (s->set.how.pairwise) fold(s, u);
            if (!shards_cut(s)) gather(s, u);
        }
    }
    comm_wait(s->c, s->reduced);
}

tensor shards_gradient_part(const shards *s, int u)
{
    return shards_cut(s) ? s->level[s->levels - 1][u] : s->whole[u];
}

void shard_gradients_free(shards *s)
{
    comm_wait(s->c, s->reduced);
    free(s->grad_held);
    free(s->whole);
    for (int j = 0; j < s->levels; j++) free(s->level[j]);
}
