/* All checkpoints stay open, and each unit is read from one after another: two units are in memory at a time,
 * however many checkpoints there are. */
#include "train/export/masters.h"
#include "base/fingerprint.h"
#include "base/memory.h"
#include "train/checkpoint_parts.h"
#include "train/value_source.h"
#include <stdlib.h>

/* ---- one checkpoint ------------------------------------------------------------------------------------ */

static status source_open(masters_source *s, const chosen_checkpoint *from, const param_table *t,
                          message *why)
{
    *s = (masters_source){.from = from};
    TRY(model_reader_open(&s->model, from->folder, t, ops_cpu_f32(), why));
    const status opened = state_reader_open(&s->states, from->folder, t, why);
    if (opened != OK) model_reader_close(&s->model);
    return opened;
}

static void source_close(masters_source *s)
{
    state_reader_close(&s->states);
    model_reader_close(&s->model);
}

static status source_unit(masters_source *s, int unit, float *out, message *why)
{
    const param_table *t = s->model.table;
    const value_source from = value_source_masters(&s->states, &s->model.files);
    for (int i = t->unit_first[unit]; i < t->unit_first[unit + 1]; i++)
        TRY(value_source_read(&from, i, 0, t->param[i].numel, out + t->param[i].offset, why));
    s->found += fingerprint_f32(out, t->unit_numel[unit], param_table_before(t, unit));
    return OK;
}

static status source_proved(const masters_source *s, message *why)
{
    const checkpoint_state *then = &s->from->state;
    if (!then->hashed) return OK; /* an old checkpoint has no fingerprints */
    return checkpoint_same_fingerprint(s->from->folder, "masters", s->found, then->masters, why);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

status masters_open(masters_reader *m, const export_choice *from, const param_table *t, message *why)
{
    *m = (masters_reader){.table = t};
    m->source = memory_new(from->count, sizeof *m->source, "%d checkpoints", from->count);
    if (from->count > 1) {
        const int64_t most = param_table_largest(t);
        m->one = memory_new(most, sizeof *m->one, "a unit of %lld weights", (long long)most);
        m->sum = memory_new(most, sizeof *m->sum, "a unit of %lld weights", (long long)most);
    }
    status s = OK;
    while (s == OK && m->count < from->count) {
        s = source_open(&m->source[m->count], &from->item[m->count], t, why);
        m->count += s == OK;
    }
    if (s != OK) masters_close(m);
    return s;
}

status masters_unit(masters_reader *m, int unit, float *out, message *why)
{
    const int64_t numel = m->table->unit_numel[unit];
    if (!m->sum) return source_unit(&m->source[0], unit, out, why);
    for (int64_t i = 0; i < numel; i++) m->sum[i] = 0;
    for (int c = 0; c < m->count; c++) {
        TRY(source_unit(&m->source[c], unit, m->one, why));
        for (int64_t i = 0; i < numel; i++) m->sum[i] += (double)m->one[i];
    }
    for (int64_t i = 0; i < numel; i++) out[i] = (float)(m->sum[i] / m->count);
    return OK;
}

status masters_proved(const masters_reader *m, message *why)
{
    for (int c = 0; c < m->count; c++) TRY(source_proved(&m->source[c], why));
    return OK;
}

void masters_close(masters_reader *m)
{
    for (int i = 0; i < m->count; i++) source_close(&m->source[i]);
    free(m->source);
    free(m->one);
    free(m->sum);
    *m = (masters_reader){0};
}
