/* How a pass gets at weights and gradients: it asks for a unit, uses it, and gives it back. Where the unit
 * is in between (in this rank's memory, cut over the ranks, in host memory) is known to who stands behind the
 * calls. Weights that are always there are the trivial case: model/weights.h.
 *
 *     tensor flat = units_acquire(u, unit);      the whole unit, on the device that computes
 *     k->...                                     queue work on views of it (param_view)
 *     units_release(u, unit);                    no more will be queued
 *
 * Both calls may only queue their work. Release is behind all that was queued before it, so nothing has to be
 * waited for between the last op and the release.
 *
 *   weights      The buffer holds the unit's values until release, and is only read.
 *   gradients    The pass adds to the buffer. Release says that this micro-batch adds nothing more to the
 *                unit, and comes once for each unit in each micro-batch.
 *
 * A unit that is held is not counted: to acquire it once more gives the same buffer, and one release gives it
 * back. So a loss may acquire the gradient of the head, and leave the release to the backward pass behind it.
 * Nobody keeps a view beyond the release.
 *
 * Passes go through the units in order: forward from the first to the last, backward from the last to the
 * first. An implementation may rely on that to fetch the next unit ahead, not to be right. One that talks to
 * other ranks makes both calls collective: all ranks ask for the same units in the same order.
 *
 * These calls are for passes and for who reads. Who sets values (loading, resuming, the update, conversion)
 * writes to the storage behind them, which it owns or is given by the owner, and only while no unit is held.
 */
#ifndef REMLA_MODEL_UNITS_UNITS_H
#define REMLA_MODEL_UNITS_UNITS_H
#include "base/tensor.h"

typedef struct units {
    tensor (*acquire)(void *owner, int unit); /* (padded numel), contiguous */
    void (*release)(void *owner, int unit);
    void *owner; /* what stands behind the calls; borrowed */
} units;

static inline tensor units_acquire(const units *u, int unit) { return u->acquire(u->owner, unit); }
static inline void units_release(const units *u, int unit) { u->release(u->owner, unit); }

#endif
