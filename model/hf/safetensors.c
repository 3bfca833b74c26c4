/* Reads safetensors files, one or a set with an index:
 *
 *     | u64 n | JSON header, n bytes                                               | data          |
 *               {"NAME": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, ...}
 *
 * No number of a header is trusted: each must agree with the size of the file, and the tensors must fill the
 * data exactly, in order of their places, without holes or overlaps. Opening reads headers only;
 * safetensors_read gets a part of a tensor by pread, so that threads may share the files. */
#include "model/hf/safetensors.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "model/hf/halves.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TENSORS = 1 << 20, MAX_NAME_BYTES = 1024, CHUNK = 1 << 15 };
#define MAX_INTEGER ((INT64_C(1) << 48) - 1) /* the largest number in the format's schema */

#define INDEX_NAME  "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"

/* ---- one file's header --------------------------------------------------------------------------------- */

static status type_parse(dtype *out, const char *path, const char *name, const json_t *value, message *why)
{
    static const struct {
        const char *text;
        dtype type;
    } types[] = {{"F32", F32}, {"F16", F16}, {"BF16", BF16}};
    const char *text = json_string_value(value);
    if (!text) return fail(why, ERR_INPUT, "%s: tensor '%.200s': dtype is not a string", path, name);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(text, types[i].text) == 0) {
            *out = types[i].type;
            return OK;
        }
    return fail(why, ERR_INPUT, "%s: tensor '%.200s' has dtype %.32s, supported are F32, F16 and BF16", path,
                name, text);
}

static bool integer_in(const json_t *value, int64_t most, int64_t *out)
{
    if (!json_is_integer(value)) return false;
    *out = json_integer_value(value);
    return *out >= 0 && *out <= most;
}

/* Sets dim, and multiplies *numel by each. */
static status shape_parse(safetensors_entry *e, const char *path, const json_t *value, int64_t *numel,
                          message *why)
{
    if (!json_is_array(value) || json_array_size(value) > SAFETENSORS_MAX_RANK)
        return fail(why, ERR_INPUT, "%s: tensor '%.200s': shape is not a list of at most %d sizes", path,
                    e->name, SAFETENSORS_MAX_RANK);
    e->rank = (int)json_array_size(value);
    for (int i = 0; i < e->rank; i++) {
        if (!integer_in(json_array_get(value, (size_t)i), MAX_INTEGER, &e->dim[i]))
            return fail(why, ERR_INPUT,
                        "%s: tensor '%.200s': size %d of its shape is not a whole number in 0 to 2^48-1",
                        path, e->name, i);
        if (__builtin_mul_overflow(*numel, e->dim[i], numel))
            return fail(why, ERR_INPUT, "%s: tensor '%.200s': the product of its shape is absurdly large",
                        path, e->name);
    }
    return OK;
}

/* Parses the description of one tensor, whose name is already set. The data begin at `data_from` and have
 * `data_bytes`. */
static status entry_parse(safetensors_entry *e, const char *path, json_t *value, int64_t data_from,
                          int64_t data_bytes, message *why)
{
    const json_t *type = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape");
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (!type || !shape || !offsets || json_object_size(value) != 3)
        return fail(why, ERR_INPUT, "%s: tensor '%.200s' must have exactly dtype, shape and data_offsets",
                    path, e->name);
    TRY(type_parse(&e->type, path, e->name, type, why));
    int64_t numel = 1, bytes, begin, end;
    TRY(shape_parse(e, path, shape, &numel, why));
    if (__builtin_mul_overflow(numel, dtype_bytes(e->type), &bytes))
        return fail(why, ERR_INPUT, "%s: tensor '%.200s': the product of its shape is absurdly large", path,
                    e->name);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !integer_in(json_array_get(offsets, 0), MAX_INTEGER, &begin) ||
        !integer_in(json_array_get(offsets, 1), MAX_INTEGER, &end))
        return fail(why, ERR_INPUT, "%s: tensor '%.200s': data_offsets is not a pair of whole numbers", path,
                    e->name);
    if (begin > end || end > data_bytes)
        return fail(why, ERR_INPUT,
                    "%s: tensor '%.200s' lies at %lld to %lld, but the file holds %lld bytes of data: it is "
                    "truncated or damaged",
                    path, e->name, (long long)begin, (long long)end, (long long)data_bytes);
    if (end - begin != bytes)
        return fail(why, ERR_INPUT,
                    "%s: tensor '%.200s': its shape needs %lld bytes, its data_offsets give %lld", path,
                    e->name, (long long)bytes, (long long)(end - begin));
    e->begin = data_from + begin;
    e->bytes = bytes;
    return OK;
}

static status name_check(const char *path, const char *name, message *why)
{
    const size_t length = strlen(name);
    if (length == 0 || length > MAX_NAME_BYTES)
        return fail(why, ERR_INPUT, "%s: a tensor's name has %zu bytes, expected 1 to %d", path, length,
                    MAX_NAME_BYTES);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return fail(why, ERR_INPUT, "%s: a tensor's name holds a control character", path);
    return OK;
}

static int by_place(const void *a, const void *b)
{
    const safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) -
           (x->bytes < y->bytes); /* empty tensors before the one that starts at the same place */
}

/* Checks that the entries of one file fill its data from the first byte to the last. */
static status places_check(safetensors_entry *entry, int count, const char *path, int64_t data_from,
                           int64_t file_end, message *why)
{
    qsort(entry, (size_t)count, sizeof *entry, by_place);
    int64_t at = data_from;
    for (int i = 0; i < count; i++) {
        if (entry[i].begin != at)
            return fail(why, ERR_INPUT,
                        "%s: tensor '%.200s' begins at byte %lld of the data, expected %lld: tensors overlap "
                        "or leave a hole",
                        path, entry[i].name, (long long)(entry[i].begin - data_from),
                        (long long)(at - data_from));
        at += entry[i].bytes;
    }
    if (at != file_end)
        return fail(why, ERR_INPUT, "%s: its tensors end at byte %lld, but the file has %lld", path,
                    (long long)at, (long long)file_end);
    return OK;
}

static status metadata_check(const char *path, json_t *value, message *why)
{
    const char *key;
    json_t *text;
    if (!json_is_object(value)) return fail(why, ERR_INPUT, "%s: __metadata__ is not an object", path);
    json_object_foreach(value, key, text) if (!json_is_string(text)) return fail(
        why, ERR_INPUT, "%s: __metadata__ '%.200s' is not a string", path, key);
    return OK;
}

static status header_entries(safetensors *s, json_t *header, int64_t data_from, int64_t file_end,
                             message *why)
{
    const int file = s->num_files - 1, first = s->count;
    const char *path = s->file[file].path;
    const size_t wanted = json_object_size(header) + (size_t)s->count;
    if (wanted > MAX_TENSORS) return fail(why, ERR_INPUT, "%s: more than %d tensors", path, MAX_TENSORS);
    s->entry =
        memory_check(realloc(s->entry, (wanted + 1) * sizeof *s->entry), "the names of %zu tensors", wanted);

    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            TRY(metadata_check(path, value, why));
            continue;
        }
        TRY(name_check(path, name, why));
        safetensors_entry *e = &s->entry[s->count];
        *e = (safetensors_entry){.name = memory_check(strdup(name), "the name of a tensor"), .file = file};
        s->count++;
        TRY(entry_parse(e, path, value, data_from, file_end - data_from, why));
    }
    return places_check(s->entry + first, s->count - first, path, data_from, file_end, why);
}

static status header_read(int fd, const char *path, int64_t file_end, json_t **header, int64_t *data_from,
                          message *why)
{
    unsigned char prefix[8];
    if (file_end < 8)
        return fail(why, ERR_INPUT, "%s: %lld bytes are too few for a safetensors file", path,
                    (long long)file_end);
    TRY(file_read_at(fd, path, prefix, 8, 0, why));
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | prefix[i];
    if (length > SAFETENSORS_HEADER_LIMIT)
        return fail(why, ERR_INPUT,
                    "%s: a header of %llu bytes, at most %d are allowed: not a safetensors file?", path,
                    (unsigned long long)length, SAFETENSORS_HEADER_LIMIT);
    if ((int64_t)length > file_end - 8)
        return fail(why, ERR_INPUT,
                    "%s: the header has %llu bytes, but only %lld follow: the file is truncated", path,
                    (unsigned long long)length, (long long)(file_end - 8));
    char *text = memory_new((int64_t)length + 1, 1, "the header of %s", path);
    status s = file_read_at(fd, path, text, (int64_t)length, 8, why);
    if (s == OK) s = json_text_parse(header, text, (int64_t)length, path, why);
    free(text);
    *data_from = 8 + (int64_t)length;
    return s;
}

static status file_add(safetensors *s, const char *path, message *why)
{
    s->file = memory_check(realloc(s->file, (size_t)(s->num_files + 1) * sizeof *s->file),
                           "%d names of files", s->num_files + 1);
    int fd;
    int64_t file_end, data_from = 0;
    TRY(file_open(path, &fd, &file_end, why));
    s->file[s->num_files].fd = fd;
    snprintf(s->file[s->num_files].path, PATH_BYTES, "%s", path);
    s->num_files++;
    json_t *header = NULL;
    TRY(header_read(fd, path, file_end, &header, &data_from, why));
    const status result = header_entries(s, header, data_from, file_end, why);
    json_decref(header);
    return result;
}

/* ---- sets of files ------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

static status entries_sort(safetensors *s, message *why)
{
    if (s->count) qsort(s->entry, (size_t)s->count, sizeof *s->entry, by_name);
    for (int i = 1; i < s->count; i++)
        if (strcmp(s->entry[i - 1].name, s->entry[i].name) == 0)
            return fail(why, ERR_INPUT, "%s: tensor '%.200s' is in %s too", s->file[s->entry[i].file].path,
                        s->entry[i].name, path_base(s->file[s->entry[i - 1].file].path));
    return OK;
}

/* Opens the files that a weight_map names, each once. */
static status map_open(safetensors *s, const char *folder, const char *index, json_t *map, message *why)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const char *base = json_string_value(value);
        if (!base || !*base || strchr(base, '/') || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
            return fail(why, ERR_INPUT, "%s: the file of tensor '%.200s' is not a plain file name", index,
                        name);
        if (strlen(folder) + strlen(base) + 2 > PATH_BYTES)
            return fail(why, ERR_INPUT, "%s: the file name of tensor '%.200s' is too long", index, name);
        bool known = false;
        for (int i = 0; i < s->num_files && !known; i++)
            known = strcmp(path_base(s->file[i].path), base) == 0;
        char path[PATH_BYTES];
        if (!known) TRY(file_add(s, path_join(path, folder, base), why));
    }
    return OK;
}

/* Checks that the weight_map and the files name the same tensors in the same places. */
static status map_check(const safetensors *s, const char *index, json_t *map, message *why)
{
    for (int i = 0; i < s->count; i++) {
        const safetensors_entry *e = &s->entry[i];
        const char *base = json_string_value(json_object_get(map, e->name)),
                   *found = path_base(s->file[e->file].path);
        if (!base)
            return fail(why, ERR_INPUT, "%s: tensor '%.200s' of %s is not in the weight_map", index, e->name,
                        found);
        if (strcmp(base, found) != 0)
            return fail(why, ERR_INPUT, "%s: tensor '%.200s' is in %s, but the weight_map says %s", index,
                        e->name, found, base);
    }
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value) if (!safetensors_find(s, name)) return fail(
        why, ERR_INPUT, "%s: tensor '%.200s' is not in %s", index, name, json_string_value(value));
    return OK;
}

static status total_check(const safetensors *s, const char *index, const json_t *metadata, message *why)
{
    if (metadata && !json_is_object(metadata))
        return fail(why, ERR_INPUT, "%s: metadata is not an object", index);
    const json_t *total = json_object_get(metadata, "total_size");
    if (!total) return OK;
    int64_t bytes = 0;
    for (int i = 0; i < s->count; i++) bytes += s->entry[i].bytes;
    if (!json_is_number(total) || json_number_value(total) != (double)bytes)
        return fail(why, ERR_INPUT, "%s: metadata.total_size is %.0f, but the tensors have %lld bytes", index,
                    json_number_value(total), (long long)bytes);
    return OK;
}

static status index_open(safetensors *s, const char *folder, const char *index, json_t *json, message *why)
{
    json_t *map = json_object_get(json, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return fail(why, ERR_INPUT, "%s: weight_map is missing, empty or not an object", index);
    TRY(map_open(s, folder, index, map, why));
    TRY(entries_sort(s, why));
    TRY(map_check(s, index, map, why));
    return total_check(s, index, json_object_get(json, "metadata"), why);
}

static status index_read(safetensors *s, const char *folder, const char *index, message *why)
{
    json_t *json;
    TRY(json_text_read(&json, index, SAFETENSORS_HEADER_LIMIT, why));
    const status result = index_open(s, folder, index, json, why);
    json_decref(json);
    return result;
}

static status open_any(safetensors *s, const char *path, message *why)
{
    char single[PATH_BYTES], index[PATH_BYTES];
    if (!folder_exists(path)) {
        TRY(file_add(s, path, why));
        return entries_sort(s, why);
    }
    const bool has_single = file_exists(path_join(single, path, SINGLE_NAME)),
               has_index = file_exists(path_join(index, path, INDEX_NAME));
    if (has_single && has_index)
        return fail(why, ERR_INPUT,
                    "%s has both " SINGLE_NAME " and " INDEX_NAME ": remove the one that is not wanted",
                    path);
    if (has_index) return index_read(s, path, index, why);
    if (!has_single) return fail(why, ERR_INPUT, "%s has neither " SINGLE_NAME " nor " INDEX_NAME, path);
    TRY(file_add(s, single, why));
    return entries_sort(s, why);
}

status safetensors_open(safetensors *s, const char *path, message *why)
{
    *s = (safetensors){0};
    const status result = open_any(s, path, why);
    if (result != OK) safetensors_close(s);
    return result;
}

void safetensors_close(safetensors *s)
{
    for (int i = 0; i < s->num_files; i++) close(s->file[i].fd);
    for (int i = 0; i < s->count; i++) free(s->entry[i].name);
    free(s->file);
    free(s->entry);
    *s = (safetensors){0};
}

const safetensors_entry *safetensors_find(const safetensors *s, const char *name)
{
    if (s->count == 0) return NULL;
    const safetensors_entry key = {.name = (char *)name};
    return bsearch(&key, s->entry, (size_t)s->count, sizeof key, by_name);
}

bool safetensors_has_shape(const safetensors_entry *e, int rank, const int64_t *dim)
{
    return e->rank == rank && !memcmp(e->dim, dim, (size_t)rank * sizeof *dim);
}

/* ---- data ---------------------------------------------------------------------------------------------- */

static bool nonfinite(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7f800000u) == 0x7f800000u;
}

int64_t safetensors_nonfinite(const float *data, int64_t count)
{
    bool found = false;
    for (int64_t i = 0; i < count; i++)
        found |= nonfinite(data[i]); /* usually the only loop that runs; without branches */
    for (int64_t i = 0; found && i < count; i++)
        if (nonfinite(data[i])) return i;
    return -1;
}

status safetensors_read(const safetensors *s, const safetensors_entry *e, int64_t from, int64_t count,
                        float *out, message *why)
{
    const int64_t size = dtype_bytes(e->type);
    const char *path = s->file[e->file].path;
    const int fd = s->file[e->file].fd;
    REQUIRE(from >= 0 && count >= 0 && count <= e->bytes / size - from, "%s: elements %lld to %lld of %lld",
            e->name, (long long)from, (long long)(from + count), (long long)(e->bytes / size));
    if (e->type == F32) {
        TRY(file_read_at(fd, path, out, count * size, e->begin + from * size, why));
    } else {
        uint16_t half[CHUNK];
        for (int64_t done = 0; done < count; done += CHUNK) {
            const int64_t part = count - done < CHUNK ? count - done : CHUNK;
            TRY(file_read_at(fd, path, half, part * size, e->begin + (from + done) * size, why));
            halves_widen(out + done, half, part, e->type);
        }
    }
    const int64_t bad = safetensors_nonfinite(out, count);
    if (bad >= 0)
        return fail(why, ERR_INPUT, "%s: tensor '%.200s': element %lld is infinite or not a number", path,
                    e->name, (long long)(from + bad));
    return OK;
}
