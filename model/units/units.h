/* Hands weights and gradients to a pass: it acquires a unit, uses it, and releases it. Before and after, only
 * the implementation of these two calls knows where the unit is: in this rank's memory, cut over the ranks,
 * in host memory. Resident weights, which stay where they are, are the trivial one (model/weights.h).
 *
 *     tensor flat = units_acquire(u, unit);      the whole unit, on the device that computes
 *     k->...                                     queue ops on views of it (param_view)
 *     units_release(u, unit);                    no more ops will be queued; the views are void
 *
 * On a device both calls may return as soon as their work is queued. It runs in the order of the calls and
 * ops, so a pass never waits between its last op and the release.
 *
 *   weights      The buffer holds the unit's values until release, and is only read.
 *   gradients    The pass adds to the buffer. Release says that this micro-batch adds nothing more to the
 *                unit. It comes once for each unit in each micro-batch.
 *
 * Acquires are not counted: acquiring a unit that is held gives the same buffer again, and one release ends
 * it. So a loss acquires the gradient of the head and leaves the release to the backward pass.
 *
 * Forward takes the units from the first to the last, backward from the last to the first. An implementation
 * may use that to fetch the next unit ahead, but must not need it. With an implementation that talks to other
 * ranks both calls are collective: all ranks take the same units in the same order.
 *
 * The calls are for passes and for readers. Code that sets values (loading, resuming, the update, conversion)
 * writes to the storage behind them, which it owns or gets from the owner, and only while no unit is held. */
#ifndef REMLA_MODEL_UNITS_UNITS_H
#define REMLA_MODEL_UNITS_UNITS_H
#include "base/tensor.h"

typedef struct units {
    tensor (*acquire)(void *owner, int unit); /* (padded numel), contiguous */
    void (*release)(void *owner, int unit);
    void *owner; /* the implementation's; borrowed */
} units;

static inline tensor units_acquire(const units *u, int unit) { return u->acquire(u->owner, unit); }
static inline void units_release(const units *u, int unit) { u->release(u->owner, unit); }

#endif
