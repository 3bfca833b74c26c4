/* Goes through the units in order: gathers one from the ranks into a buffer of the host and writes it, so
 * that only one is in host memory at a time. */
#include "train/gradients_file.h"
#include "base/memory.h"
#include "model/hf/model_files.h"
#include <stdlib.h>

static status create(safetensors_writer *w, const char *path, const param_table *t, message *why)
{
    safetensors_spec *spec = memory_new(t->count, sizeof *spec, "%d tensor names", t->count);
    for (int i = 0; i < t->count; i++) spec[i] = model_param_spec(&t->param[i], "", F32);
    const status s = safetensors_create(w, path, spec, t->count, why);
    free(spec);
    return s;
}

static status unit_append(safetensors_writer *w, const param_table *t, int u, float *full, double scale,
                          message *why)
{
    for (int64_t i = 0; i < t->unit_numel[u]; i++) full[i] = (float)((double)full[i] * scale);
    for (const param *p = t->param + t->unit_first[u]; p < t->param + t->unit_first[u + 1]; p++)
        TRY(safetensors_append(w, full + p->offset, p->numel, why));
    return OK;
}

status gradients_file_write(const char *path, optimizer *o, double scale, const comm *c, message *why)
{
    const param_table *const t = o->s->table;
    const bool writes = c->rank == 0;
    safetensors_writer w;
    uint64_t hash;
    int64_t bytes;
    status s = writes ? create(&w, path, t, why) : OK;
    const int64_t largest = shards_padded(o->s, shards_largest(o->s));
    float *const full = memory_new(largest, sizeof *full, "a unit of %lld elements", (long long)largest);
    /* All ranks take part in every gather, also when rank 0 cannot write any more. */
    for (int u = 0; u < t->num_units; u++) {
        optimizer_gather(o, OPTIM_GRAD, u, full);
        if (writes && s == OK) s = unit_append(&w, t, u, full, scale, why);
    }
    free(full);
    if (writes && s == OK) s = safetensors_finish(&w, &hash, &bytes, why);
    return comm_agree(c, s, why);
}
