/* Moments and masters; a ring of slots where they are offloaded. The order of copies that it needs is the
 * device's (device.h): a copy into a slot waits for the copy out of it, and for the ops between them. */
#include "optim/states.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>
#include <string.h>

/* 32 MiB of each kind: long enough for a copy at full speed. */
enum { PIECE = 8 << 20 };

static const char *const names[] = {"m", "v", "master"};

static void slots_init(states *x, arena *a)
{
    const ops *k = x->s->k;
    REQUIRE(k->real == F32, "copies of %s", dtype_name(k->real));
    x->piece_most = shards_part(x->s, shards_largest(x->s));
    if (x->piece_most > PIECE) x->piece_most = PIECE;
    for (state_piece *p = x->slot; p < x->slot + STATE_SLOTS; p++)
        for (int kind = 0; kind < x->kinds; kind++)
            p->of[kind] = arena_tensor(a, k->real, names[kind], x->piece_most);
}

void states_init(states *x, const shards *s, arena *a, arena *host)
{
    const ops *k = s->k;
    const int n = s->table->num_units;
    *x = (states){
        .s = s, .offloaded = host && host->pinned, .kinds = k->act == k->real ? STATE_MASTER : STATE_KINDS};
    arena *const place = x->offloaded ? host : a;
    for (int kind = 0; kind < x->kinds; kind++)
        x->of[kind] = memory_new(n, sizeof *x->of[kind], "the list of %d units", n);
    for (int u = 0; u < n; u++)
        for (int kind = 0; kind < x->kinds; kind++) {
            tensor *const t = &x->of[kind][u];
            *t = arena_tensor(place, k->real, names[kind], shards_part(s, u));
            if (!place->base || kind == STATE_MASTER) continue;
            if (x->offloaded)
                memset(t->data, 0, sizeof(float) * (size_t)tensor_numel(t));
            else
                k->zero(t, k->stream);
        }
    if (x->offloaded) slots_init(x, a);
}

void states_free(states *x)
{
    for (int kind = 0; kind < x->kinds; kind++) free(x->of[kind]);
    *x = (states){0};
}

/* ---- an update ----------------------------------------------------------------------------------------- */

static int64_t piece_bytes(const state_piece *p) { return p->count * (int64_t)sizeof(float); }

/* Where a piece lies on the host. */
static float *on_host(const states *x, const state_piece *p, int kind)
{
    return (float *)x->of[kind][p->unit].data + p->from;
}

/* Queues the next piece's way into its slot, if there is one. */
static void copy_in(states *x)
{
    if (x->unit == x->s->table->num_units) return;
    const int64_t left = shards_part(x->s, x->unit) - x->from;
    const int slot = (int)(x->copied_in++ % STATE_SLOTS);
    state_piece *const p = &x->slot[slot];
    p->unit = x->unit;
    p->from = x->from;
    p->count = left < x->piece_most ? left : x->piece_most;
    for (int kind = 0; kind < x->kinds; kind++)
        x->arrived[slot] =
            device_copy_in(x->s->k->device, p->of[kind].data, on_host(x, p, kind), piece_bytes(p));
    x->from += p->count;
    if (p->count < left) return;
    x->unit++;
    x->from = 0;
}

void states_begin(states *x)
{
    x->unit = 0;
    x->from = x->copied_in = x->taken = 0;
    for (int i = 0; x->offloaded && i < STATE_SLOTS - 1; i++) copy_in(x);
}

static state_piece whole(const states *x, int u)
{
    state_piece p = {.unit = u, .count = shards_part(x->s, u)};
    for (int kind = 0; kind < x->kinds; kind++) p.of[kind] = x->of[kind][u];
    return p;
}

state_piece states_take(states *x, int u, int64_t from)
{
    if (!x->offloaded) return whole(x, u);
    /* Before this piece's work is queued: the slot was the last piece's, and waits for no more than that. */
    copy_in(x);
    const int slot = (int)(x->taken++ % STATE_SLOTS);
    state_piece p = x->slot[slot];
    REQUIRE(p.unit == u && p.from == from, "unit %d from %lld, expected unit %d from %lld", u,
            (long long)from, p.unit, (long long)p.from);
    device_wait(x->s->k->device, x->arrived[slot]);
    for (int kind = 0; kind < x->kinds; kind++) p.of[kind] = tensor_slice(&p.of[kind], 0, p.count);
    return p;
}

void states_give_back(states *x, const state_piece *p)
{
    for (int kind = 0; x->offloaded && kind < x->kinds; kind++)
        device_copy_out(x->s->k->device, on_host(x, p, kind), p->of[kind].data, piece_bytes(p));
}

/* ---- between updates ----------------------------------------------------------------------------------- */

void states_read(const states *x, state_kind kind, int u, float *to)
{
    const tensor *const t = &x->of[kind][u];
    if (x->offloaded) {
        device_copies_finish(x->s->k->device);
        memcpy(to, t->data, sizeof *to * (size_t)tensor_numel(t));
    } else {
        x->s->k->download(to, t, x->s->k->stream);
    }
}

void states_write(states *x, state_kind kind, int u, const float *from)
{
    tensor *const t = &x->of[kind][u];
    if (x->offloaded) {
        device_copies_finish(x->s->k->device);
        memcpy(t->data, from, sizeof *from * (size_t)tensor_numel(t));
    } else {
        x->s->k->upload(t, from, x->s->k->stream);
    }
}
