/* Weights of a model in training. In stages 0 to 2 a unit stays whole; after an update the other ranks'
 * slices are on their way, and who acquires the unit waits for them. In stage 3 there are slices alone:
 *
 *     acquire(7)   wait until 7 is whole     (or gather it, if nobody foresaw this)
 *                  start to gather 8         into the side that 6 had, while the pass computes with 7
 *     release(7)
 *     acquire(8)   ...
 */
#include "optim/shard_parts.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>

static bool sliced(const shards *s) { return s->set.stage == 3; }

void shard_weights_init(shards *s, arena *a)
{
    const int n = s->layout.num_units;
    const int64_t before = a->used;
    s->weight = shard_list(s, s->k->act, "weights", !sliced(s), a);
    s->gathered = memory_new(n, sizeof *s->gathered, "a list of %d units", n);
    s->weight_held = s->weight_before = NO_UNIT;
    s->bytes.weights = a->used - before;
    /* The head of a tied model is used between the last unit and itself. */
    const int beside = s->table->head_unit < n - 1 ? s->table->head_unit : NO_UNIT;
    if (sliced(s)) two_sides_init(&s->weight_sides, s->k->act, n, s->layout.padded, beside, NO_UNIT, a);
    s->bytes.sides += a->used - before - s->bytes.weights;
    for (int u = 0; u < n && a->base; u++) s->k->zero(&s->weight[u], s->k->stream);
}

/* ---- stage 3 ------------------------------------------------------------------------------------------- */

/* What a pass needs after `u` if it is one of the usual ones: forward from the first to the last, the head,
 * back from the last to the first, and forward again. NO_UNIT: nothing, or what is there already. */
static int next_unit(const shards *s, int before, int u)
{
    const int last = s->layout.num_units - 1, head = s->table->head_unit;
    if (u == last) {
        const bool forward = before == last - 1;
        if (!forward) return last - 1;
        return head == last ? NO_UNIT : head;
    }
    if (u == head && before == last) return last; /* of a tied model */
    if (before < u || u == 0) return u + 1;
    if (u > 1) return u - 1;
    /* The update comes before the next forward. */
    return s->micro_batch + 1 < s->set.micro_batches ? 0 : NO_UNIT;
}

static int gather_start(shards *s, int u)
{
    two_sides *x = &s->weight_sides;
    const int p = two_sides_take(x, u);
    const tensor whole = two_sides_tensor(x, p), mine = s->weight[u];
    shard_poison(s, &whole);
    x->place[p].ticket = shard_gather(s, &whole, &mine);
    return p;
}

/* Beside the unit that is in use. */
static void foresee(shards *s, int u)
{
    const two_sides *x = &s->weight_sides;
    if (u != NO_UNIT && two_sides_find(x, u) == NO_PLACE && !two_sides_covers(x, u)) gather_start(s, u);
}

static tensor slices_acquire(void *owner, int u)
{
    shards *s = owner;
    two_sides *x = &s->weight_sides;
    REQUIRE(s->weight_held == NO_UNIT || s->weight_held == u, "unit %d is acquired while %d is held", u,
            s->weight_held);
    int p = two_sides_find(x, u);
    if (p == NO_PLACE) p = gather_start(s, u);
    x->last = p;
    comm_wait(s->c, x->place[p].ticket);
    if (s->weight_held == NO_UNIT) {
        foresee(s, next_unit(s, s->weight_before, u));
        s->weight_before = s->weight_held = u;
    }
    return two_sides_tensor(x, p);
}

static void slices_release(void *owner, int u)
{
    shards *s = owner;
    REQUIRE(s->weight_held == u, "unit %d is released while %d is held", u, s->weight_held);
    s->weight_held = NO_UNIT;
}

/* ---- stages 0 to 2 ------------------------------------------------------------------------------------- */

static void gathered_wait(shards *s, int u)
{
    comm_wait(s->c, s->gathered[u]);
    s->gathered[u] = (comm_ticket){0};
}

static tensor whole_acquire(void *owner, int u)
{
    gathered_wait(owner, u);
    return ((const shards *)owner)->weight[u];
}

static void whole_release(void *owner, int u) { (void)owner, (void)u; }

/* ---- all ----------------------------------------------------------------------------------------------- */

units shards_weights(shards *s)
{
    return sliced(s) ? (units){.acquire = slices_acquire, .release = slices_release, .owner = s}
                     : (units){.acquire = whole_acquire, .release = whole_release, .owner = s};
}

tensor shards_weight_part(shards *s, int u)
{
    gathered_wait(s, u);
    return sliced(s) || !shards_cut(s) ? s->weight[u] : shard_of(s, &s->weight[u], u);
}

/* What lies on a side has old values. */
static void forget(shards *s, int u)
{
    const int p = two_sides_find(&s->weight_sides, u);
    if (p == NO_PLACE) return;
    comm_wait(s->c, s->weight_sides.place[p].ticket);
    s->weight_sides.place[p].unit = NO_UNIT;
}

void shards_updated(shards *s, int u)
{
    if (sliced(s)) {
        forget(s, u);
        if (u == 0) gather_start(s, u); /* every pass begins with it */
    } else if (shards_cut(s) && s->c->size > 1) {
        const tensor mine = shard_of(s, &s->weight[u], u);
        s->gathered[u] = shard_gather(s, &s->weight[u], &mine);
    }
}

void shard_weights_free(shards *s)
{
    for (int u = 0; u < s->layout.num_units; u++) gathered_wait(s, u);
    for (int p = 0; p < PLACES && sliced(s); p++) comm_wait(s->c, s->weight_sides.place[p].ticket);
    free(s->weight);
    free(s->gathered);
}
