#include "train/manifest.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FORMAT "remla checkpoint 1"
static const char *const MANIFEST = "MANIFEST.json";
enum { MANIFEST_LIMIT = 1 << 24 };

static void hex_of(char *out, size_t size, uint64_t hash) { snprintf(out, size, "%016" PRIx64, hash); }

/* The hash that "self" holds: over the compact text of the file list, which does not depend on white space in
 * the file. */
static void self_hash(char *out, size_t size, const json_t *files)
{
    char *text = json_dumps(files, JSON_COMPACT | JSON_SORT_KEYS);
    REQUIRE(text, "no memory for a manifest");
    hex_of(out, size, XXH3_64bits(text, strlen(text)));
    free(text);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names of the files of a folder but the manifest, sorted. */
static status names_of(const char *folder, char ***names, int *count, message *why)
{
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(folder);
    if (!dir) return fail(why, ERR_INPUT, "%s: cannot be listed: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, MANIFEST) == 0) continue;
        *names = realloc(*names, sizeof **names * (size_t)(*count + 1));
        REQUIRE(*names, "no memory for %d names", *count);
        (*names)[(*count)++] = strdup(entry->d_name);
    }
    closedir(dir);
    if (*count) qsort(*names, (size_t)*count, sizeof **names, by_name);
    return OK;
}

static void names_free(char **names, int count)
{
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
}

status manifest_write(const char *folder, message *why)
{
    char **names = NULL, path[PATH_BYTES], hex[24];
    int count = 0;
    TRY(names_of(folder, &names, &count, why));
    json_t *files = json_array();
    status s = OK;
    for (int i = 0; i < count && s == OK; i++) {
        uint64_t hash;
        int64_t bytes;
        s = file_hash(path_join(path, folder, names[i]), &hash, &bytes, why);
        if (s != OK) break;
        hex_of(hex, sizeof hex, hash);
        json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "name", names[i], "bytes",
                                               (json_int_t)bytes, "xxh3_64", hex));
    }
    names_free(names, count);
    self_hash(hex, sizeof hex, files);
    json_t *manifest = json_pack("{s:s, s:o, s:s}", "format", FORMAT, "files", files, "self", hex);
    char *text = json_dumps(manifest, JSON_INDENT(1));
    json_decref(manifest);
    REQUIRE(text, "no memory for a manifest of %d files", count);
    if (s == OK) s = file_write(path_join(path, folder, MANIFEST), text, (int64_t)strlen(text), NULL, why);
    free(text);
    return s;
}

static status file_verify(const char *folder, const json_t *entry, message *why)
{
    char path[PATH_BYTES], hex[24];
    const char *name = json_string_value(json_object_get(entry, "name")),
               *want = json_string_value(json_object_get(entry, "xxh3_64"));
    const json_int_t want_bytes = json_integer_value(json_object_get(entry, "bytes"));
    uint64_t hash;
    int64_t bytes = file_bytes(path_join(path, folder, name));
    if (bytes < 0) return fail(why, ERR_INPUT, "%s: is missing", path);
    if (bytes != want_bytes)
        return fail(why, ERR_INPUT, "%s: has %lld bytes, its manifest says %lld", path, (long long)bytes,
                    (long long)want_bytes);
    TRY(file_hash(path, &hash, &bytes, why));
    hex_of(hex, sizeof hex, hash);
    if (strcmp(hex, want) != 0)
        return fail(why, ERR_INPUT, "%s: is damaged: XXH3 %s, its manifest says %s", path, hex, want);
    return OK;
}

static bool entry_valid(const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    return name && *name && !strchr(name, '/') && json_is_integer(json_object_get(entry, "bytes")) &&
           json_string_value(json_object_get(entry, "xxh3_64"));
}

status manifest_verify(const char *folder, message *why)
{
    char path[PATH_BYTES], hex[24], *text;
    int64_t bytes;
    path_join(path, folder, MANIFEST);
    if (!file_exists(path))
        return fail(why, ERR_INPUT, "%s: is missing: %s is not a checkpoint that was finished", path, folder);
    TRY(file_read_text(path, MANIFEST_LIMIT, &text, &bytes, why));
    json_error_t error;
    json_t *manifest = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!manifest) return fail(why, ERR_INPUT, "%s: line %d: %s", path, error.line, error.text);
    const char *format = json_string_value(json_object_get(manifest, "format")),
               *self = json_string_value(json_object_get(manifest, "self"));
    const json_t *files = json_object_get(manifest, "files");
    status s = OK;
    if (!format || strcmp(format, FORMAT) != 0)
        s = fail(why, ERR_INPUT, "%s: format is \"%s\", expected \"%s\"", path, format ? format : "", FORMAT);
    else if (!json_is_array(files) || !self)
        s = fail(why, ERR_INPUT, "%s: \"files\" or \"self\" is missing", path);
    if (s == OK) {
        self_hash(hex, sizeof hex, files);
        if (strcmp(hex, self) != 0)
            s = fail(why, ERR_INPUT, "%s: is damaged: its own hash is %s, it says %s", path, hex, self);
    }
    for (size_t i = 0; s == OK && i < json_array_size(files); i++) {
        const json_t *entry = json_array_get(files, i);
        s = entry_valid(entry) ? file_verify(folder, entry, why)
                               : fail(why, ERR_INPUT, "%s: entry %zu of \"files\" is malformed", path, i);
    }
    json_decref(manifest);
    return s;
}
