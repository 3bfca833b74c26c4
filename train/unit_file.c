/* Every function here goes through the units in order: gather one from the ranks into a buffer of the host
 * and write it. Only one unit is in host memory at a time. */
#include "train/unit_file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "model/hf/model_files.h"
#include "model/hf/safetensors.h"
#include <stdlib.h>
#include <string.h>

/* The largest padded unit: what a buffer must hold. */
static float *unit_buffer(const optimizer *o)
{
    const int64_t largest = shards_padded(o->s, shards_largest(o->s));
    return memory_new(largest, sizeof(float), "a unit of %lld elements", (long long)largest);
}

/* Header entries in the order in which the data follow: unit, part, parameter. */
static safetensors_spec *specs(const param_table *table, const char *const *prefix, int parts)
{
    safetensors_spec *spec =
        memory_new(table->count * parts, sizeof *spec, "%d tensor names", table->count * parts);
    int n = 0;
    for (int u = 0; u < table->num_units; u++)
        for (int i = 0; i < parts; i++)
            for (int j = table->unit_first[u]; j < table->unit_first[u + 1]; j++)
                spec[n++] = model_param_spec(&table->param[j], prefix[i], F32);
    return spec;
}

int64_t unit_file_bytes(const param_table *table, const char *const *prefix, int parts)
{
    safetensors_spec *spec = specs(table, prefix, parts);
    const int64_t bytes = safetensors_bytes(spec, table->count * parts);
    free(spec);
    return bytes;
}

status unit_file_write(const char *path, optimizer *o, const optim_part *part, const char *const *prefix,
                       int parts, double scale, const comm *c, written_files *written, uint64_t *values,
                       message *why)
{
    const param_table *table = o->s->table;
    safetensors_writer w;
    status s = OK;
    const bool writes = c->rank == 0;
    hash_state *hash = writes && values ? hash_start() : NULL;
    if (writes) {
        safetensors_spec *spec = specs(table, prefix, parts);
        s = safetensors_create(&w, path, spec, table->count * parts, why);
        free(spec);
    }
    float *full = unit_buffer(o);
    /* All ranks take part in every gather, also when rank 0 cannot write any more. */
    for (int u = 0; u < table->num_units; u++) {
        for (int i = 0; i < parts; i++) {
            optimizer_gather(o, part[i], u, full);
            if (!writes) continue;
            for (int j = table->unit_first[u]; j < table->unit_first[u + 1] && s == OK; j++) {
                float *data = full + table->param[j].offset;
                for (int64_t n = 0; scale != 1 && n < table->param[j].numel; n++)
                    data[n] = (float)((double)data[n] * scale);
                hash_update(hash, data, (int64_t)sizeof *data * table->param[j].numel);
                s = safetensors_append(&w, data, table->param[j].numel, why);
            }
        }
    }
    free(full);
    if (hash) *values = hash_finish(hash);
    uint64_t file;
    int64_t bytes;
    if (writes && s == OK) {
        s = safetensors_finish(&w, &file, &bytes, why);
        if (s == OK) written_add(written, path, bytes, file);
    }
    return comm_agree(c, s, why);
}

status unit_file_write_gradients(const char *path, optimizer *o, double scale, const comm *c, message *why)
{
    static const optim_part parts[] = {OPTIM_GRAD};
    static const char *const prefixes[] = {""};
    return unit_file_write(path, o, parts, prefixes, 1, scale, c, NULL, NULL, why);
}

status unit_file_write_masters(const char *folder, optimizer *o, const comm *c, written_files *written,
                               uint64_t *values, message *why)
{
    const param_table *table = o->s->table;
    model_writer w;
    const bool writes = c->rank == 0;
    status s = writes ? model_writer_open(&w, folder, table, ops_cpu_f32(), F32, MODEL_FILE_BYTES, why) : OK;
    const bool open = writes && s == OK;
    if (open) w.written = written;
    float *full = unit_buffer(o);
    hash_state *hash = writes && values ? hash_start() : NULL;
    /* All ranks take part in every gather, also when rank 0 cannot write any more. */
    for (int u = 0; u < table->num_units; u++) {
        optimizer_gather(o, OPTIM_MASTER, u, full);
        const tensor flat = tensor_of(full, F32, "masters", 1, &table->unit_numel[u]);
        hash_update(hash, full, (int64_t)sizeof *full * table->unit_numel[u]);
        if (writes && s == OK) s = model_writer_unit(&w, u, &flat, why);
    }
    free(full);
    if (hash) *values = hash_finish(hash);
    if (open && s == OK) s = model_writer_finish(&w, why);
    if (open && s != OK) model_writer_abandon(&w);
    return comm_agree(c, s, why);
}
