/* Parses index.json of an MDS folder. Every entry is checked before any shard is read: names stay inside the
 * folder, sizes are bounded so that no later product overflows, and one column of each shard is chosen as the
 * ids. Entries are parsed again when their shard is opened, so that memory does not grow with the folder. */
#include "data/prepare/mds_index.h"
#include "base/json_text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_LIMIT = 1 << 24, NAME_LIMIT = 255 };

/* The beginning of messages about one entry. */
typedef struct place {
    const char *path;
    int64_t shard;
} place;

static status malformed(place p, message *why, const char *format, ...) __attribute__((format(printf, 3, 4)));
static status malformed(place p, message *why, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(why, ERR_INPUT, "%s: shard %lld: %s", p.path, (long long)p.shard, text);
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* Returns true for plain file names: an index must not lead out of its folder. */
static bool plain_name(const char *name)
{
    if (!*name || strlen(name) > NAME_LIMIT || !strcmp(name, ".") || !strcmp(name, "..")) return false;
    for (const char *c = name; *c; c++)
        if (*c == '/' || (unsigned char)*c < 0x20) return false;
    return true;
}

static status hashes_parse(mds_file *f, const json_t *hashes, place p, message *why)
{
    const char *algorithm;
    json_t *text;
    if (!json_is_object(hashes) || json_object_size(hashes) > MDS_HASHES)
        return malformed(p, why, "the hashes of %.100s are not an object of at most %d", f->name, MDS_HASHES);
    json_object_foreach((json_t *)hashes, algorithm, text)
    {
        if (!json_is_string(text))
            return malformed(p, why, "the %.40s of %.100s is not a text", algorithm, f->name);
        f->hash[f->hashes].algorithm = algorithm;
        f->hash[f->hashes++].text = json_string_value(text);
    }
    return OK;
}

/* Parses the entry of one file; `limit` bounds its bytes. */
static status file_parse(mds_file *f, const json_t *file, const char *key, int64_t limit, place p,
                         message *why)
{
    const char *name = json_string_value(json_object_get(file, "basename"));
    const json_t *bytes = json_object_get(file, "bytes");
    if (!name) return malformed(p, why, "%s has no basename", key);
    if (!plain_name(name))
        return malformed(p, why, "%s is \"%.100s\", but only names of files of the same folder are followed",
                         key, name);
    f->name = name;
    f->bytes = json_integer_value(bytes);
    if (!json_is_integer(bytes) || f->bytes < 0 || f->bytes > limit)
        return malformed(p, why, "the bytes of %.100s are not a number from 0 to %lld", name,
                         (long long)limit);
    return hashes_parse(f, json_object_get(file, "hashes"), p, why);
}

static status files_parse(mds_shard *s, const json_t *entry, place p, message *why)
{
    const json_t *compression = json_object_get(entry, "compression");
    const char *name = json_string_value(compression);
    /* Samples are found by 32-bit offsets. */
    TRY(file_parse(&s->raw, json_object_get(entry, "raw_data"), "raw_data", UINT32_MAX, p, why));
    if (json_is_null(compression)) return OK;
    if (!name || strncmp(name, "zstd", 4) != 0 || (name[4] && name[4] != ':'))
        return malformed(p, why, "compression is \"%.40s\", and only zstd is read", name ? name : "");
    return file_parse(&s->zip, json_object_get(entry, "zip_data"), "zip_data", INT64_MAX, p, why);
}

/* ---- columns ------------------------------------------------------------------------------------------- */

/* Multiplies the numbers of a shape, "2048" or "1,2048". */
static bool shape_parse(const char *text, int64_t *product)
{
    *product = 1;
    for (;; text++) {
        char *end;
        const long long n = *text >= '1' && *text <= '9' ? strtoll(text, &end, 10) : 0;
        if (n <= 0 || n > UINT32_MAX / *product) return false; /* larger than any sample */
        *product *= n;
        if (!*end) return true;
        if (*end != ',') return false;
        text = end;
    }
}

static status encoding_parse(mds_shard *s, const char *encoding, place p, message *why)
{
    static const struct {
        const char *name;
        id_type type;
    } types[] = {{"uint8", ID_U8},   {"int8", ID_I8},   {"uint16", ID_U16}, {"int16", ID_I16},
                 {"uint32", ID_U32}, {"int32", ID_I32}, {"int64", ID_I64}};
    s->fixed_ids = -1;
    s->type = ID_I64;
    if (!strcmp(encoding, "bytes")) return OK;
    if (!strcmp(encoding, "pkl"))
        return malformed(p, why, "column %.100s is pickled (pkl): pickles are programs and are never read",
                         s->column);
    for (size_t i = 0; i < sizeof types / sizeof types[0] && !strncmp(encoding, "ndarray:", 8); i++) {
        const size_t n = strlen(types[i].name);
        const char *rest = encoding + 8 + n;
        if (strncmp(encoding + 8, types[i].name, n) != 0 || (*rest && *rest != ':')) continue;
        s->type = types[i].type;
        s->shaped = !*rest;
        if (s->shaped || shape_parse(rest + 1, &s->fixed_ids)) return OK;
    }
    return malformed(p, why,
                     "column %.100s is %.100s; ids are read from bytes (int64) and from ndarray:TYPE[:SHAPE] "
                     "of whole numbers",
                     s->column, encoding);
}

/* Writes "a, b, c" for a message. */
static void list_names(const json_t *names, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < json_array_size(names) && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%.60s", i ? ", " : "",
                               json_string_value(json_array_get(names, i)));
}

static int find_column(const json_t *names, const char *column)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (!strcmp(json_string_value(json_array_get(names, i)), column)) return (int)i;
    return -1;
}

static status choose(mds_shard *s, const json_t *names, const char *column, place p, message *why)
{
    char all[300];
    if (*column) {
        s->chosen = find_column(names, column);
    } else {
        s->chosen = find_column(names, "tokens");
        if (s->chosen < 0) s->chosen = find_column(names, "input_ids");
    }
    if (s->chosen >= 0) {
        s->column = json_string_value(json_array_get(names, (size_t)s->chosen));
        return OK;
    }
    list_names(names, all, sizeof all);
    if (*column) return malformed(p, why, "there is no column %.100s; there are: %s", column, all);
    return malformed(p, why, "there is no column tokens or input_ids; import.column names one of: %s", all);
}

static status size_parse(mds_shard *s, int i, const json_t *size, place p, message *why)
{
    s->size[i] = json_is_integer(size) ? json_integer_value(size) : -1;
    if (json_is_null(size) || (json_is_integer(size) && s->size[i] >= 1 && s->size[i] <= UINT32_MAX))
        return OK;
    return malformed(p, why, "column_sizes[%d] is neither null nor a number from 1 to %u", i, UINT32_MAX);
}

static status columns_parse(mds_shard *s, const json_t *entry, const char *column, place p, message *why)
{
    const json_t *names = json_object_get(entry, "column_names"),
                 *encodings = json_object_get(entry, "column_encodings"),
                 *sizes = json_object_get(entry, "column_sizes");
    const size_t count = json_array_size(names); /* 0 of what is no array */
    if (count == 0 || count > MDS_COLUMNS || json_array_size(encodings) != count ||
        json_array_size(sizes) != count)
        return malformed(p, why,
                         "column_names, column_encodings and column_sizes are not lists of one length from 1 "
                         "to %d",
                         MDS_COLUMNS);
    s->columns = (int)count;
    for (size_t i = 0; i < count; i++) {
        if (!json_is_string(json_array_get(names, i)) || !json_is_string(json_array_get(encodings, i)))
            return malformed(p, why, "a column's name or encoding is not a text");
        TRY(size_parse(s, (int)i, json_array_get(sizes, i), p, why));
    }
    TRY(choose(s, names, column, p, why));
    TRY(encoding_parse(s, json_string_value(json_array_get(encodings, (size_t)s->chosen)), p, why));
    const int64_t size = s->fixed_ids < 0 ? -1 : s->fixed_ids * import_id_bytes(s->type);
    if (s->size[s->chosen] == size) return OK;
    return malformed(p, why,
                     "column %.100s has a size of %lld bytes, expected %lld by its encoding (-1: none)",
                     s->column, (long long)s->size[s->chosen], (long long)size);
}

/* ---- the index ----------------------------------------------------------------------------------------- */

status mds_index_shard(const mds_index *index, int64_t number, const char *column, mds_shard *s, message *why)
{
    const json_t *entry = json_array_get(json_object_get(index->json, "shards"), (size_t)number);
    const place p = {index->path, number};
    const char *format = json_string_value(json_object_get(entry, "format"));
    const json_t *samples = json_object_get(entry, "samples");
    *s = (mds_shard){0};
    if (!format || strcmp(format, "mds") != 0)
        return malformed(p, why, "format is \"%.40s\", expected \"mds\"", format ? format : "");
    if (json_integer_value(json_object_get(entry, "version")) != 2)
        return malformed(p, why, "version is not 2");
    s->samples = json_integer_value(samples);
    if (!json_is_integer(samples) || s->samples < 0 || s->samples > UINT32_MAX)
        return malformed(p, why, "samples is not a number from 0 to %u", UINT32_MAX);
    TRY(files_parse(s, entry, p, why));
    TRY(columns_parse(s, entry, column, p, why));
    /* The offset of each sample, one more, their number; no product overflows. */
    const int64_t each = 4 + (s->fixed_ids < 0 ? 0 : s->size[s->chosen]);
    if (s->samples <= (s->raw.bytes - 8) / each && s->raw.bytes >= 8) return OK;
    return malformed(p, why, "%lld samples do not fit in the %lld bytes of %.100s", (long long)s->samples,
                     (long long)s->raw.bytes, s->raw.name);
}

static status total(mds_index *index, const char *column, message *why)
{
    mds_shard s;
    for (int64_t i = 0; i < index->shards; i++) {
        TRY(mds_index_shard(index, i, column, &s, why));
        /* No sum overflows: an index has less than 2^24 shards, and none of them 2^32 of anything. */
        index->samples += s.samples;
        index->bytes += s.raw.bytes;
        if (import_id_bytes(s.type) > 2) index->token_bytes = 4;
        index->tokens = index->tokens < 0 || s.fixed_ids < 0 ? -1 : index->tokens + s.samples * s.fixed_ids;
    }
    return OK;
}

static status parse(mds_index *index, const char *column, message *why)
{
    TRY(json_text_read(&index->json, index->path, INDEX_LIMIT, why));
    if (json_integer_value(json_object_get(index->json, "version")) != 2)
        return fail(why, ERR_INPUT,
                    "%s: version is not 2: this is not an index of MDS, or one of another version",
                    index->path);
    const json_t *shards = json_object_get(index->json, "shards");
    if (!json_is_array(shards)) return fail(why, ERR_INPUT, "%s: shards is not a list", index->path);
    index->shards = (int64_t)json_array_size(shards);
    return total(index, column, why);
}

status mds_index_read(mds_index *index, const char *folder, const char *column, message *why)
{
    *index = (mds_index){.token_bytes = 2};
    if (snprintf(index->path, PATH_BYTES, "%s/index.json", folder) + NAME_LIMIT >= PATH_BYTES)
        return fail(why, ERR_INPUT, "%.200s...: the path is too long", folder);
    const status s = parse(index, column, why);
    if (s != OK) mds_index_free(index);
    return s;
}

void mds_index_free(mds_index *index)
{
    json_decref(index->json);
    index->json = NULL;
}
