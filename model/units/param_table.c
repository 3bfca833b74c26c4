/* Searches and sums over a table of parameters. model/weights.c makes the tables. */
#include "model/units/param_table.h"
#include <stdlib.h>
#include <string.h>

void param_table_free(param_table *t)
{
    free(t->param);
    free(t->unit_numel);
    free(t->unit_first);
    *t = (param_table){0};
}

int64_t param_table_before(const param_table *t, int unit)
{
    int64_t numel = 0;
    for (int u = 0; u < unit; u++) numel += t->unit_numel[u];
    return numel;
}

int64_t param_table_largest(const param_table *t)
{
    int64_t most = 0;
    for (int u = 0; u < t->num_units; u++)
        if (t->unit_numel[u] > most) most = t->unit_numel[u];
    return most;
}

int64_t param_table_numel(const param_table *t) { return param_table_before(t, t->num_units); }

const param *param_find(const param_table *t, const char *name)
{
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->param[i].name, name) == 0) return &t->param[i];
    return NULL;
}

bool param_within(const param *p, int64_t low, int64_t high, int64_t *from, int64_t *to)
{
    const int64_t end = p->offset + p->numel;
    *from = p->offset > low ? p->offset : low;
    *to = end < high ? end : high;
    return *from < *to;
}

tensor param_view(const param *p, const tensor *flat)
{
    const tensor values = tensor_rows(flat, p->offset, p->numel);
    tensor view = tensor_view(&values, p->rank, p->dim);
    view.name = p->name;
    return view;
}
