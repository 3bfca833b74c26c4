/* One walk over this rank's parts of the units: what lies of a parameter in the part is read into the buffer,
 * and the buffer is set. Only one part is in host memory at a time. */
#include "train/slices_read.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* Fills `own`, this rank's part of unit u; the padding is zero. */
static status read_part(const optimizer *o, int u, const value_source *source, float *own, message *why)
{
    const param_table *const t = o->s->table;
    const int64_t low = shards_before(o->s, u), high = low + shards_part(o->s, u);
    memset(own, 0, sizeof *own * (size_t)(high - low));
    for (int i = t->unit_first[u]; i < t->unit_first[u + 1]; i++) {
        const int64_t begin = t->param[i].offset;
        int64_t from, to;
        if (param_within(&t->param[i], low, high, &from, &to))
            TRY(value_source_read(source, i, from - begin, to - from, own + (from - low), why));
    }
    return OK;
}

status slices_read(optimizer *o, state_kind kind, const value_source *from, message *why)
{
    const int64_t most = shards_part(o->s, shards_largest(o->s));
    float *const own = memory_new(most, sizeof *own, "a part of a unit, %lld elements", (long long)most);
    status s = OK;
    for (int u = 0; u < o->s->table->num_units && s == OK; u++) {
        s = read_part(o, u, from, own, why);
        if (s == OK) optimizer_set(o, (optim_part)kind, u, own);
    }
    free(own);
    return s;
}
