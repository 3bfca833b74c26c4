/* All checkpoints stay open, and each unit is read from one after another: two units are in memory at a time,
 * however many checkpoints there are. */
#include "train/export/masters.h"
#include "base/memory.h"
#include <stdlib.h>

static int64_t largest_unit(const param_table *t)
{
    int64_t most = 0;
    for (int u = 0; u < t->num_units; u++)
        if (t->unit_numel[u] > most) most = t->unit_numel[u];
    return most;
}

status masters_open(masters_reader *m, const export_choice *from, const param_table *t, message *why)
{
    const int64_t most = largest_unit(t);
    *m = (masters_reader){0};
    m->checkpoint = memory_new(from->count, sizeof *m->checkpoint, "%d checkpoints", from->count);
    m->one = memory_new(most, sizeof *m->one, "a unit of %lld weights", (long long)most);
    if (from->count > 1) m->sum = memory_new(most, sizeof *m->sum, "a unit of %lld weights", (long long)most);
    status s = OK;
    while (s == OK && m->count < from->count) {
        s = model_reader_open(&m->checkpoint[m->count], from->item[m->count].folder, t, ops_cpu_f32(), why);
        m->count += s == OK;
    }
    if (s != OK) masters_close(m);
    return s;
}

static status read_unit(masters_reader *m, int which, int unit, float *out, message *why)
{
    model_reader *r = &m->checkpoint[which];
    tensor flat = tensor_of(out, F32, "masters", 1, &r->table->unit_numel[unit]);
    return model_reader_unit(r, unit, &flat, why);
}

status masters_unit(masters_reader *m, int unit, float *out, message *why)
{
    const int64_t numel = m->checkpoint[0].table->unit_numel[unit];
    if (m->count == 1) return read_unit(m, 0, unit, out, why);
    for (int64_t i = 0; i < numel; i++) m->sum[i] = 0;
    for (int c = 0; c < m->count; c++) {
        TRY(read_unit(m, c, unit, m->one, why));
        for (int64_t i = 0; i < numel; i++) m->sum[i] += (double)m->one[i];
    }
    for (int64_t i = 0; i < numel; i++) out[i] = (float)(m->sum[i] / m->count);
    return OK;
}

void masters_close(masters_reader *m)
{
    for (int i = 0; i < m->count; i++) model_reader_close(&m->checkpoint[i]);
    free(m->checkpoint);
    free(m->one);
    free(m->sum);
    *m = (masters_reader){0};
}
