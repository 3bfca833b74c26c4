/* Weights pass through one buffer of bounded size on their way between files and device. */
#include "model/model_files.h"
#include "base/file.h"
#include "model/safetensors.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements that are in host memory at a time. */
enum { CHUNK = 1 << 20 };

static float *chunk_buffer(void)
{
    float *chunk = malloc(sizeof *chunk * CHUNK);
    if (!chunk) die(ERR_DEVICE, "no memory for %d weights on the host", CHUNK);
    return chunk;
}

/* Elements [from, from+count) of a parameter as one row. */
static tensor part_of(const weights *w, const param *p, int64_t from, int64_t count)
{
    const tensor whole = weights_param(w, p), flat = tensor_view(&whole, 1, &p->numel);
    return tensor_rows(&flat, from, count);
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
    bool same = e->rank == p->rank;
    for (int i = 0; same && i < p->rank; i++) same = e->dim[i] == p->dim[i];
    if (same) return OK;
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

static status load_param(const safetensors *s, const param *p, const weights *w, const ops *k, float *chunk,
                         message *why)
{
    const safetensors_entry *e = safetensors_find(s, p->name);
    for (int64_t from = 0; from < p->numel; from += CHUNK) {
        TRY(safetensors_read(s, e, from, chunk_at(p, from), chunk, why));
        tensor part = part_of(w, p, from, chunk_at(p, from));
        k->upload(&part, chunk, NULL);
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

status model_load(const char *folder, const param_table *t, const weights *w, const ops *k, message *why)
{
    safetensors s;
    TRY(safetensors_open(&s, folder, why));
    status result = check_tensors(folder, &s, t, why);
    float *chunk = chunk_buffer();
    for (int i = 0; i < t->count && result == OK; i++)
        result = load_param(&s, &t->param[i], w, k, chunk, why);
    free(chunk);
    safetensors_close(&s);
    return result;
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

static status save_param(safetensors_writer *file, const param *p, const weights *w, const ops *k,
                         float *chunk, message *why)
{
    for (int64_t from = 0; from < p->numel; from += CHUNK) {
        const tensor part = part_of(w, p, from, chunk_at(p, from));
        k->download(chunk, &part, NULL);
        TRY(safetensors_append(file, chunk, part.dim[0], why));
    }
    return OK;
}

/* Parameters [from, to) into one file. */
static status save_file(const char *path, const param_table *t, int from, int to, const weights *w,
                        const ops *k, dtype storage, message *why)
{
    safetensors_spec *spec = calloc((size_t)(to - from), sizeof *spec);
    if (!spec) die(ERR_DEVICE, "no memory for %d tensor names", to - from);
    for (int i = from; i < to; i++) {
        const param *p = &t->param[i];
        spec[i - from] = (safetensors_spec){.type = storage, .rank = p->rank, .dim = {p->dim[0], p->dim[1]}};
        snprintf(spec[i - from].name, sizeof spec->name, "%s", p->name);
    }
    safetensors_writer file;
    status s = safetensors_create(&file, path, spec, to - from, why);
    free(spec);
    float *chunk = chunk_buffer();
    for (int i = from; i < to && s == OK; i++) s = save_param(&file, &t->param[i], w, k, chunk, why);
    free(chunk);
    uint64_t hash;
    int64_t bytes;
    return s == OK ? safetensors_finish(&file, &hash, &bytes, why) : s;
}

static status save_index(const char *folder, const param_table *t, json_t *weight_map, dtype storage,
                         message *why)
{
    char path[PATH_BYTES];
    json_t *index =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size",
                  (json_int_t)(param_table_numel(t) * dtype_bytes(storage)), "weight_map", weight_map);
    char *text = json_dumps(index, JSON_INDENT(2));
    if (!text) die(ERR_DEVICE, "no memory for an index of %d tensors", t->count);
    const status s = file_write(path_join(path, folder, "model.safetensors.index.json"), text,
                                (int64_t)strlen(text), NULL, why);
    free(text);
    json_decref(index);
    return s;
}

static status save_files(const char *folder, const param_table *t, const weights *w, const ops *k,
                         dtype storage, int64_t file_bytes, json_t *weight_map, message *why)
{
    char path[PATH_BYTES], name[64];
    int files = 0, number = 0;
    for (int from = 0; from < t->count; from = file_end(t, from, storage, file_bytes)) files++;
    for (int from = 0, to; from < t->count; from = to) {
        to = file_end(t, from, storage, file_bytes);
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", ++number, files);
        TRY(save_file(path_join(path, folder, name), t, from, to, w, k, storage, why));
        for (int i = from; i < to; i++) json_object_set_new(weight_map, t->param[i].name, json_string(name));
    }
    return save_index(folder, t, weight_map, storage, why);
}

status model_save(const char *folder, const param_table *t, const weights *w, const ops *k, dtype storage,
                  int64_t file_bytes, message *why)
{
    char path[PATH_BYTES];
    if (param_table_numel(t) * dtype_bytes(storage) <= file_bytes) {
        TRY(save_file(path_join(path, folder, "model.safetensors"), t, 0, t->count, w, k, storage, why));
    } else {
        json_t *weight_map = json_object();
        const status s = save_files(folder, t, w, k, storage, file_bytes, weight_map, why);
        json_decref(weight_map);
        if (s != OK) return s;
    }
    return folder_sync(folder, why);
}

/* ---- tokenizer ----------------------------------------------------------------------------------------- */

status tokenizer_copy(const char *from, const char *to, message *why)
{
    static const char *const names[] = {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "chat_template.jinja",
        "generation_config.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char source[PATH_BYTES], copy[PATH_BYTES];
        uint64_t hash;
        int64_t bytes;
        if (!file_exists(path_join(source, from, names[i]))) continue;
        TRY(file_copy(source, path_join(copy, to, names[i]), &hash, &bytes, why));
    }
    return folder_sync(to, why);
}
