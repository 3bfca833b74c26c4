/* Masters are kept beside model files that are rounded; where these are not, they are the masters. */
#include "train/value_source.h"

value_source value_source_model(const safetensors *files, const param_table *t)
{
    return (value_source){.table = t, .model = files};
}

value_source value_source_states(const state_reader *r, state_kind kind)
{
    return (value_source){.table = r->table, .states = r, .kind = kind};
}

value_source value_source_masters(const state_reader *r, const safetensors *files)
{
    if (state_reader_has_masters(r)) return value_source_states(r, STATE_MASTER);
    return value_source_model(files, r->table);
}

status value_source_read(const value_source *x, int i, int64_t from, int64_t count, float *out, message *why)
{
    if (!x->model) return state_reader_read(x->states, x->kind, i, from, count, out, why);
    const char *const name = x->table->param[i].name;
    const safetensors_entry *const e = safetensors_find(x->model, name);
    REQUIRE(e, "tensor %s is missing", name);
    return safetensors_read(x->model, e, from, count, out, why);
}
