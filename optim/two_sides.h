/* Room for units in use. Two lie in one buffer, one at either end, and the sides are taken in turn: one is in
 * use, the other comes next or was used before. Units of a pass follow each other, so the buffer has the
 * largest sum of two neighbours: of a model about a layer and the head.
 *
 *     | layer 7 ->              <- layer 8 |
 *     | layer 9 ->              <- layer 8 |
 *
 * A unit may have a place of its own, where it stays while others come and go. */
#ifndef REMLA_OPTIM_TWO_SIDES_H
#define REMLA_OPTIM_TWO_SIDES_H
#include "base/arena.h"
#include "base/comm.h"

enum { NO_UNIT = -1, NO_PLACE = -1, PLACES = 3 /* the sides, 0 and 1, and the place apart */ };

typedef struct unit_place {
    int unit;           /* what lies here, or NO_UNIT */
    comm_ticket ticket; /* of the call that works on it */
    int64_t pass;       /* the owner's note */
} unit_place;

typedef struct two_sides {
    const int64_t *padded; /* (units) elements; borrowed */
    tensor buffer, apart;  /* flat */
    int unit_apart;        /* or NO_UNIT */
    int last;              /* the side that was taken last */
    unit_place place[PLACES];
} two_sides;

/* Cuts room out of `a`, which may be measuring, for units of `type`. The last unit and `beside` are used one
 * after the other, too (NO_UNIT: none). `apart` (or NO_UNIT) has a place of its own. */
void two_sides_init(two_sides *x, dtype type, int num_units, const int64_t *padded, int beside, int apart,
                    arena *a);

int two_sides_find(const two_sides *x, int unit); /* its place, or NO_PLACE */
/* The place that a unit would get: its own, or the side that was not taken last. */
int two_sides_choose(const two_sides *x, int unit);
/* Whether a unit in the place that it would get covers what lies on the other side. */
bool two_sides_covers(const two_sides *x, int unit);
/* Takes that place. Who had it, or is covered, is gone. */
int two_sides_take(two_sides *x, int unit);
tensor two_sides_tensor(const two_sides *x, int p); /* (padded) what lies in a place */

#endif
