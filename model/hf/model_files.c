/* Weights pass through one buffer of bounded size on their way between files and device. */
#include "model/hf/model_files.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "model/hf/safetensors.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements that are in host memory at a time. */
enum { CHUNK = 1 << 20 };

static float *chunk_buffer(void) { return memory_new(CHUNK, sizeof(float), "%d weights on the host", CHUNK); }

/* Elements [from, from+count) of a parameter in the flat buffer of its unit. */
static tensor part_of(const tensor *flat, const param *p, int64_t from, int64_t count)
{
    return tensor_rows(flat, p->offset + from, count);
}

static int64_t chunk_at(const param *p, int64_t from)
{
    return p->numel - from < CHUNK ? p->numel - from : CHUNK;
}

/* ---- loading ------------------------------------------------------------------------------------------- */

static bool may_be_extra(const param_table *t, const char *name)
{
    /* A tied model's table has no head of its own. */
    if (strcmp(name, "lm_head.weight") == 0) return !param_find(t, name);
    const char *const layers = "model.layers.";
    if (strncmp(name, layers, strlen(layers)) != 0) return false;
    const char *const number = name + strlen(layers), *const rest = number + strspn(number, "0123456789");
    return rest > number && strcmp(rest, ".self_attn.rotary_emb.inv_freq") == 0;
}

static void shape_text(char *out, size_t size, int rank, const int64_t *dim)
{
    size_t used = (size_t)snprintf(out, size, "(");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? "," : "", (long long)dim[i]);
    if (used < size) snprintf(out + used, size - used, ")");
}

static status check_shape(const safetensors *s, const safetensors_entry *e, const param *p, message *why)
{
    if (safetensors_has_shape(e, p->rank, p->dim)) return OK;
    char found[160], expected[64];
    shape_text(found, sizeof found, e->rank, e->dim);
    shape_text(expected, sizeof expected, p->rank, p->dim);
    return fail(why, ERR_INPUT, "%s: tensor '%s' has shape %s, the config.json beside it asks for %s",
                s->file[e->file].path, p->name, found, expected);
}

static status check_tensors(const char *folder, const safetensors *s, const param_table *t, message *why)
{
    for (int i = 0; i < t->count; i++) {
        const safetensors_entry *e = safetensors_find(s, t->param[i].name);
        if (!e)
            return fail(why, ERR_INPUT, "%s: tensor '%s' is missing",
                        s->num_files == 1 ? s->file[0].path : folder, t->param[i].name);
        TRY(check_shape(s, e, &t->param[i], why));
    }
    for (int i = 0; i < s->count; i++) {
        const safetensors_entry *e = &s->entry[i];
        if (!param_find(t, e->name) && !may_be_extra(t, e->name))
            return fail(
                why, ERR_INPUT,
                "%s: tensor '%.200s' does not belong to the model that the config.json beside it describes",
                s->file[e->file].path, e->name);
    }
    return OK;
}

static status load_param(model_reader *r, const param *p, tensor *flat, message *why)
{
    const safetensors_entry *e = safetensors_find(&r->files, p->name);
    for (int64_t from = 0; from < p->numel; from += CHUNK) {
        TRY(safetensors_read(&r->files, e, from, chunk_at(p, from), r->chunk, why));
        tensor part = part_of(flat, p, from, chunk_at(p, from));
        r->k->upload(&part, r->chunk, r->k->stream);
    }
    return OK;
}

status model_check(const char *folder, const dims *d, message *why)
{
    safetensors s;
    param_table t;
    TRY(safetensors_open(&s, folder, why));
    param_table_init(&t, d);
    const status result = check_tensors(folder, &s, &t, why);
    param_table_free(&t);
    safetensors_close(&s);
    return result;
}

status model_reader_open(model_reader *r, const char *folder, const param_table *t, const ops *k,
                         message *why)
{
    *r = (model_reader){.table = t, .k = k};
    TRY(safetensors_open(&r->files, folder, why));
    const status s = check_tensors(folder, &r->files, t, why);
    if (s == OK)
        r->chunk = chunk_buffer();
    else
        safetensors_close(&r->files);
    return s;
}

status model_reader_unit(model_reader *r, int unit, tensor *flat, message *why)
{
    const param_table *t = r->table;
    for (int i = t->unit_first[unit]; i < t->unit_first[unit + 1]; i++)
        TRY(load_param(r, &t->param[i], flat, why));
    return OK;
}

void model_reader_close(model_reader *r)
{
    free(r->chunk);
    safetensors_close(&r->files);
}

status model_load(const char *folder, const param_table *t, const weights *w, const ops *k, message *why)
{
    model_reader r;
    TRY(model_reader_open(&r, folder, t, k, why));
    status s = OK;
    for (int u = 0; u < t->num_units && s == OK; u++) s = model_reader_unit(&r, u, &w->unit[u], why);
    model_reader_close(&r);
    return s;
}

/* ---- saving -------------------------------------------------------------------------------------------- */

/* Where the file that begins with parameter `from` ends: it takes parameters in order while they fit, at
 * least one. */
static int file_end(const param_table *t, int from, dtype storage, int64_t file_bytes)
{
    int64_t bytes = 0;
    int to = from;
    while (to < t->count && (to == from || bytes + t->param[to].numel * dtype_bytes(storage) <= file_bytes))
        bytes += t->param[to++].numel * dtype_bytes(storage);
    return to;
}

model_file *model_files(const param_table *t, dtype storage, int64_t file_bytes, int *count)
{
    model_file *list = memory_new(t->count, sizeof *list, "a list of %d files", t->count);
    *count = 0;
    for (int from = 0; from < t->count; from = list[(*count)++].to)
        list[*count] = (model_file){.from = from, .to = file_end(t, from, storage, file_bytes)};
    for (int i = 0; i < *count; i++) {
        char *const name = list[i].name;
        if (*count == 1)
            snprintf(name, MODEL_FILE_NAME, "model.safetensors");
        else
            snprintf(name, MODEL_FILE_NAME, "model-%05d-of-%05d.safetensors", i + 1, *count);
    }
    return list;
}

safetensors_spec model_param_spec(const param *p, const char *prefix, dtype type)
{
    safetensors_spec spec = {.type = type, .rank = p->rank, .dim = {p->dim[0], p->dim[1]}};
    const int length = snprintf(spec.name, sizeof spec.name, "%s%s", prefix, p->name);
    REQUIRE(length < SAFETENSORS_NAME_BYTES, "tensor name '%s%s' is too long", prefix, p->name);
    return spec;
}

/* Declares the file's tensors. The caller frees. */
static safetensors_spec *file_specs(const param_table *t, const model_file *f, dtype storage)
{
    safetensors_spec *spec = memory_new(f->to - f->from, sizeof *spec, "%d tensor names", f->to - f->from);
    for (int i = f->from; i < f->to; i++) spec[i - f->from] = model_param_spec(&t->param[i], "", storage);
    return spec;
}

int64_t model_files_bytes(const param_table *t, dtype storage, int64_t file_bytes)
{
    int count;
    model_file *file = model_files(t, storage, file_bytes, &count);
    int64_t bytes = 0;
    for (const model_file *f = file; f < file + count; f++) {
        safetensors_spec *spec = file_specs(t, f, storage);
        bytes += safetensors_bytes(spec, f->to - f->from);
        free(spec);
    }
    free(file);
    return bytes;
}

status model_files_index(const char *folder, const param_table *t, dtype storage, const model_file *file,
                         int count, written_files *written, message *why)
{
    if (count == 1) return OK;
    json_t *weight_map = json_object();
    for (const model_file *f = file; f < file + count; f++)
        for (int i = f->from; i < f->to; i++)
            json_object_set_new(weight_map, t->param[i].name, json_string(f->name));
    json_t *index =
        json_pack("{s:{s:I}, s:o}", "metadata", "total_size",
                  (json_int_t)(param_table_numel(t) * dtype_bytes(storage)), "weight_map", weight_map);
    char path[PATH_BYTES];
    path_join(path, folder, "model.safetensors.index.json");
    return json_text_write(index, JSON_INDENT(2), path, written, why);
}

static status begin_file(model_writer *w, message *why)
{
    const model_file *f = &w->plan[w->number];
    safetensors_spec *spec = file_specs(w->table, f, w->storage);
    char path[PATH_BYTES];
    const status s =
        safetensors_create(&w->out, path_join(path, w->folder, f->name), spec, f->to - f->from, why);
    free(spec);
    w->open = s == OK;
    return s;
}

static status save_param(model_writer *w, const param *p, const tensor *flat, message *why)
{
    for (int64_t from = 0; from < p->numel; from += CHUNK) {
        const tensor part = part_of(flat, p, from, chunk_at(p, from));
        w->k->download(w->chunk, &part, w->k->stream);
        const status s = safetensors_append(&w->out, w->chunk, part.dim[0], why);
        w->open = s == OK; /* a writer that failed has closed its file */
        TRY(s);
    }
    return OK;
}

static status end_file(model_writer *w, message *why)
{
    uint64_t hash;
    int64_t bytes;
    w->open = false; /* also after a failure */
    TRY(safetensors_finish(&w->out, &hash, &bytes, why));
    written_add(w->written, w->plan[w->number++].name, bytes, hash);
    return OK;
}

status model_writer_open(model_writer *w, const char *folder, const param_table *t, const ops *k,
                         dtype storage, int64_t file_bytes, message *why)
{
    *w = (model_writer){.table = t, .k = k, .storage = storage};
    if (path_print(w->folder, why, "%s", folder) != OK) return ERR_USAGE;
    w->plan = model_files(t, storage, file_bytes, &w->files);
    w->chunk = chunk_buffer();
    return OK;
}

status model_writer_unit(model_writer *w, int unit, const tensor *flat, message *why)
{
    const param_table *t = w->table;
    for (; w->next < t->count && t->param[w->next].unit == unit; w->next++) {
        if (!w->open) TRY(begin_file(w, why));
        TRY(save_param(w, &t->param[w->next], flat, why));
        if (w->next + 1 == w->plan[w->number].to) TRY(end_file(w, why));
    }
    return OK;
}

status model_writer_finish(model_writer *w, message *why)
{
    REQUIRE(w->next == w->table->count, "%d of %d parameters are written", w->next, w->table->count);
    status s = model_files_index(w->folder, w->table, w->storage, w->plan, w->files, w->written, why);
    if (s == OK) s = folder_sync(w->folder, why);
    model_writer_abandon(w); /* nothing is open: it gives the memory back */
    return s;
}

void model_writer_abandon(model_writer *w)
{
    if (w->open) safetensors_abandon(&w->out);
    free(w->chunk);
    free(w->plan);
    *w = (model_writer){0};
}

status model_save(const char *folder, const param_table *t, const units *u, const ops *k, dtype storage,
                  int64_t file_bytes, message *why)
{
    model_writer out;
    TRY(model_writer_open(&out, folder, t, k, storage, file_bytes, why));
    status s = OK;
    for (int unit = 0; unit < t->num_units && s == OK; unit++) {
        const tensor flat = units_acquire(u, unit);
        s = model_writer_unit(&out, unit, &flat, why);
        units_release(u, unit);
    }
    if (s == OK) s = model_writer_finish(&out, why);
    if (s != OK) model_writer_abandon(&out);
    return s;
}
