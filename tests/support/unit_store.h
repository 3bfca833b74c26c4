/* Units that hand out copies and fill them with NaN at release: a pass that uses a weight or a gradient which
 * it does not hold computes NaN. Only the store knows where the values are.
 *
 *     unit_store s;
 *     unit_store_init(&s, k, m.w.unit, m.table.num_units);     takes the values, and leaves NaN
 *     m.units = unit_store_units(&s);
 *     ...                                                      values before and after: s.kept
 *     unit_store_free(&s);
 */
#ifndef REMLA_TESTS_UNIT_STORE_H
#define REMLA_TESTS_UNIT_STORE_H
#include "tests/support/check.h"
#include "model/units/units.h"

typedef struct unit_store {
    int num_units;
    tensor *kept;    /* (units) the values while a unit is not held; check_get and check_put may be used */
    tensor *copy[2]; /* (units) each; handed out in turn, so that an old copy does not come to life again */
    int *acquired;   /* (units) how often */
    bool *held;      /* (units) */
    int num_held, most_held; /* now, and at any time since unit_store_init */
} unit_store;

/* Takes over the values of these resident units. Their tensors are those of a test (check_tensor): a test
 * that uses a store is listed with CHECK_TEST or its teardown. */
void unit_store_init(unit_store *s, const ops *k, const tensor *resident, int num_units);
void unit_store_free(unit_store *s);
/* Releasing a unit keeps what was added to it. Acquiring a unit that is held gives the same copy; releasing
 * one that is not held fails the test. */
units unit_store_units(unit_store *s);

#endif
