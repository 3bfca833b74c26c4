/* One walk over this rank's parts of the units, for both kinds of files: what lies of a parameter in the part
 * is read into the buffer, and the buffer is set. Only one part is in host memory at a time. */
#include "train/slices_read.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* Reads elements [from, from+count) of the table's parameter i. */
typedef status reader(const void *from_files, state_kind kind, int i, int64_t from, int64_t count, float *out,
                      message *why);

/* Fills `own`, this rank's part of unit u; the padding is zero. */
static status read_part(const optimizer *o, int u, reader *read, const void *files, state_kind kind,
                        float *own, message *why)
{
    const param_table *const t = o->s->table;
    const int64_t low = shards_before(o->s, u), high = low + shards_part(o->s, u);
    memset(own, 0, sizeof *own * (size_t)(high - low));
    for (int i = t->unit_first[u]; i < t->unit_first[u + 1]; i++) {
        const int64_t begin = t->param[i].offset, end = begin + t->param[i].numel;
        const int64_t from = begin > low ? begin : low, to = end < high ? end : high;
        if (from < to) TRY(read(files, kind, i, from - begin, to - from, own + (from - low), why));
    }
    return OK;
}

static status read_parts(optimizer *o, reader *read, const void *files, state_kind kind, message *why)
{
    const int64_t most = shards_part(o->s, shards_largest(o->s));
    float *const own = memory_new(most, sizeof *own, "a part of a unit, %lld elements", (long long)most);
    status s = OK;
    for (int u = 0; u < o->s->table->num_units && s == OK; u++) {
        s = read_part(o, u, read, files, kind, own, why);
        if (s == OK) optimizer_set(o, (optim_part)kind, u, own);
    }
    free(own);
    return s;
}

typedef struct model_files {
    const safetensors *files;
    const param_table *table;
} model_files;

static status from_model(const void *from, state_kind kind, int i, int64_t first, int64_t count, float *out,
                         message *why)
{
    (void)kind;
    const model_files *const m = from;
    const safetensors_entry *const e = safetensors_find(m->files, m->table->param[i].name);
    REQUIRE(e, "tensor %s is missing", m->table->param[i].name);
    return safetensors_read(m->files, e, first, count, out, why);
}

status slices_read_model(optimizer *o, const safetensors *files, message *why)
{
    const model_files m = {.files = files, .table = o->s->table};
    return read_parts(o, from_model, &m, STATE_MASTER, why);
}

static status from_states(const void *from, state_kind kind, int i, int64_t first, int64_t count, float *out,
                          message *why)
{
    return state_reader_read(from, kind, i, first, count, out, why);
}

status slices_read_states(optimizer *o, const state_reader *stored, state_kind kind, message *why)
{
    return read_parts(o, from_states, stored, kind, why);
}
