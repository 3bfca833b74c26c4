/* Room for units in use. Two lie in one buffer, one at either end: the one that is in use, and the one that comes
 * next or that was used before. Units of a pass follow each other, so the buffer is as large as the largest sum of
 * two neighbours: of a model about a layer and the head.
 *
 *     | layer 7 ->              <- layer 8 |
 *     | layer 7 ->        <- head and norm |      (the sides are taken in turn)
 *
 * A unit may have a place of its own instead: it stays while others come and go. */
#ifndef REMLA_OPTIM_TWO_SIDES_H
#define REMLA_OPTIM_TWO_SIDES_H
#include "base/arena.h"
#include "base/comm.h"

enum { OWN_PLACE = 2, PLACES = 3, NO_UNIT = -1 };

/* What lies in a place. */
typedef struct place {
    int unit;           /* NO_UNIT: nothing of use */
    comm_ticket ticket; /* of the call that works on it */
    int64_t tag;        /* the owner's */
} place;

typedef struct two_sides {
    int64_t *padded; /* (units) elements; borrowed */
    tensor buffer;   /* both sides */
    tensor own;      /* of the unit with a place of its own */
    int apart;       /* that unit, or NO_UNIT */
    int last;        /* the side that was taken last */
    place place[PLACES];
} two_sides;

#endif
