/* What AdamW keeps of the parts of units that this rank updates: moments, and master weights where the
 * weights are of a half type. They lie in memory of the ops or, offloaded, in pinned host memory of the ops'
 * device. Then an update streams them through three slots on the device, a piece at a time: one slot fills,
 * one is computed on, one empties.
 *
 *     copies in    piece 0 | piece 1 | piece 2 | piece 3 ...
 *     ops                  | piece 0 | piece 1 | piece 2 ...
 *     copies out                     | piece 0 | piece 1 ...
 *
 * (Ren et al. 2021, ZeRO-Offload, arXiv:2101.06840, computes the update on the host instead.) Ops work on
 * elements alone, so pieces do not change a bit. */
#ifndef REMLA_OPTIM_STATES_H
#define REMLA_OPTIM_STATES_H
#include "base/device.h"
#include "optim/shards.h"

typedef enum state_kind { STATE_M, STATE_V, STATE_MASTER, STATE_KINDS } state_kind;

/* Elements from..from+count of this rank's part of a unit, in memory of the ops. */
typedef struct state_piece {
    int unit;
    int64_t from, count;
    tensor of[STATE_KINDS]; /* each (count) real */
} state_piece;

enum { STATE_SLOTS = 3 };

typedef struct states {
    const shards *s; /* borrowed */
    bool offloaded;
    int kinds;               /* STATE_KINDS, or without STATE_MASTER where weights are their own masters */
    tensor *of[STATE_KINDS]; /* (units) real: of this rank's parts */
    int64_t piece_most;      /* elements of a slot */
    state_piece slot[STATE_SLOTS];
    device_ticket arrived[STATE_SLOTS];
    int unit; /* the next piece to be copied in begins there */
    int64_t from;
    int64_t copied_in, taken; /* pieces in this update */
} states;

/* Lays the states out in `host`, slots in `a`; or all in `a` if host is NULL or not pinned memory of a
 * device. Arenas may be measuring. With memory, moments are zero. */
void states_init(states *x, const shards *s, arena *a, arena *host);
void states_free(states *x); /* the memory is the arenas' */

/* An update: begins, and goes through all pieces, which follow each other from the first unit to the last.
 * Work on a piece is queued between take and give_back, one at a time. */
void states_begin(states *x);
state_piece states_take(states *x, int u, int64_t from);
void states_give_back(states *x, const state_piece *p);

/* This rank's part of a unit to or from the host, between updates; they wait for the device. */
void states_read(const states *x, state_kind kind, int u, float *to);
void states_write(states *x, state_kind kind, int u, const float *from);

#endif
