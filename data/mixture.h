/* Assigns each position of a run to a source of a mixture. Sources take turns by their weights, in whole
 * numbers: after any number of positions each has had its share to within one sample, and after a period
 * exactly. The turns of a period are computed once; any position costs the same. docs/FORMATS.md, "Mixtures".
 */
#ifndef REMLA_DATA_MIXTURE_H
#define REMLA_DATA_MIXTURE_H
#include "base/status.h"
#include <stdint.h>

enum { MIXTURE_PERIOD = 1 << 20, MIXTURE_SOURCES = 1 << 10 }; /* at most */

typedef struct mixture {
    int sources;
    int64_t period;           /* sum of the weights */
    int64_t *weight;          /* (sources) without a common divisor */
    int32_t *source, *before; /* (period) of each turn: its source, and how many turns that one had before */
} mixture;

/* weight: decimal numbers above 0, as texts ("3", "0.25"). ERR_USAGE: one is not such a number, or the
 * smallest whole numbers in their ratio add up to more than MIXTURE_PERIOD. `key` is the option they came
 * from. */
status mixture_open(mixture *m, const char *key, const char *const *weight, int sources, message *why);
void mixture_close(mixture *m);

/* Gives the source of a position, and the number of positions before it with the same source. */
void mixture_at(const mixture *m, uint64_t position, int *source, uint64_t *index);
/* Returns the position at which a source has its turn number `index`; UINT64_MAX if it does not fit. */
uint64_t mixture_position(const mixture *m, int source, uint64_t index);

#endif
