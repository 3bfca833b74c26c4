/* Only places are kept here; what must have ended before one is taken is the owner's affair. */
#include "optim/two_sides.h"
#include "base/status.h"

/* A side begins at a multiple of 64 elements: of 128 bytes in a half type. */
static int64_t room(const two_sides *x, int unit) { return (x->padded[unit] + 63) / 64 * 64; }

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t largest_pair(const two_sides *x, int num_units, int beside)
{
    int64_t largest = 0;
    for (int u = 0; u < num_units; u++) {
        if (u == x->unit_apart) continue;
        const bool neighbour = u + 1 < num_units && u + 1 != x->unit_apart;
        largest = larger(largest, room(x, u) + (neighbour ? room(x, u + 1) : 0));
    }
    if (beside != NO_UNIT && beside != x->unit_apart)
        largest = larger(largest, room(x, num_units - 1) + room(x, beside));
    return largest;
}

void two_sides_init(two_sides *x, dtype type, int num_units, const int64_t *padded, int beside, int apart,
                    arena *a)
{
    *x = (two_sides){.padded = padded, .unit_apart = apart};
    for (int p = 0; p < PLACES; p++) x->place[p].unit = NO_UNIT;
    x->buffer = arena_tensor(a, type, "units in use", largest_pair(x, num_units, beside));
    if (apart != NO_UNIT) x->apart = arena_tensor(a, type, "unit in use", padded[apart]);
}

int two_sides_find(const two_sides *x, int unit)
{
    for (int p = 0; p < PLACES; p++)
        if (x->place[p].unit == unit) return p;
    return NO_PLACE;
}

int two_sides_choose(const two_sides *x, int unit) { return unit == x->unit_apart ? 2 : 1 - x->last; }

bool two_sides_covers(const two_sides *x, int unit)
{
    const int p = two_sides_choose(x, unit);
    if (p == 2 || x->place[1 - p].unit == NO_UNIT) return false;
    return room(x, unit) + room(x, x->place[1 - p].unit) > x->buffer.dim[0];
}

int two_sides_take(two_sides *x, int unit)
{
    const int p = two_sides_choose(x, unit);
    if (two_sides_covers(x, unit)) x->place[1 - p].unit = NO_UNIT;
    x->place[p] = (unit_place){.unit = unit};
    if (p != 2) x->last = p;
    return p;
}

tensor two_sides_tensor(const two_sides *x, int p)
{
    const int unit = x->place[p].unit;
    REQUIRE(unit != NO_UNIT, "there is nothing in place %d", p);
    if (p == 2) return x->apart;
    return tensor_rows(&x->buffer, p ? x->buffer.dim[0] - room(x, unit) : 0, x->padded[unit]);
}
