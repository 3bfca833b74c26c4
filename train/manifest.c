/* The manifest says which bytes a checkpoint consists of. Two rules make it a proof:
 *
 *   written  from the hashes that base/written.h collects while bytes go to the disk. A manifest made by
 *            reading the files back would certify whatever the disk made of them.
 *   read     in both directions: every listed file must be there with its hash, and every file that a reader
 *            would open must be listed. Otherwise a file left in the folder could change what is loaded.
 *
 *   {"format": "remla checkpoint 1",
 *    "files": [{"name": "config.json", "bytes": 612, "xxh3_64": "..."}, ...],  <- this list is hashed
 *    "self": "..."}                                                            <- into this
 */
#include "train/manifest.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FORMAT "remla checkpoint 1"
static const char *const MANIFEST = "MANIFEST.json";
enum { MANIFEST_LIMIT = 1 << 24, NAME_BYTES = 256 };

/* The hash in "self" is over the compact text of the file list, so white space in the file does not matter.
 */
static void self_hash(char out[HASH_TEXT], const json_t *files)
{
    char *text = memory_check(json_dumps(files, JSON_COMPACT | JSON_SORT_KEYS), "a manifest");
    hash_text(out, XXH3_64bits(text, strlen(text)));
    free(text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const written_file *)a)->name, ((const written_file *)b)->name);
}

bool manifest_exists(const char *folder)
{
    char path[PATH_BYTES];
    return file_exists(path_join(path, folder, MANIFEST));
}

status manifest_write(const char *folder, written_files *files, message *why)
{
    char path[PATH_BYTES], hex[HASH_TEXT];
    qsort(files->file, (size_t)files->count, sizeof *files->file, by_name);
    json_t *list = json_array();
    for (int64_t i = 0; i < files->count; i++) {
        const written_file *f = &files->file[i];
        json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "name", f->name, "bytes",
                                              (json_int_t)f->bytes, "xxh3_64", json_text_hash(f->hash)));
    }
    self_hash(hex, list);
    json_t *manifest = json_pack("{s:s, s:o, s:s}", "format", FORMAT, "files", list, "self", hex);
    return json_text_write(manifest, JSON_INDENT(1), path_join(path, folder, MANIFEST), NULL, why);
}

static status file_verify(const char *folder, const json_t *entry, message *why)
{
    char path[PATH_BYTES], hex[HASH_TEXT];
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
    hash_text(hex, hash);
    if (strcmp(hex, want) != 0)
        return fail(why, ERR_INPUT, "%s: is damaged: XXH3 %s, its manifest says %s", path, hex, want);
    return OK;
}

static bool entry_valid(const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    return name && *name && strlen(name) < NAME_BYTES && !strchr(name, '/') &&
           json_is_integer(json_object_get(entry, "bytes")) &&
           json_string_value(json_object_get(entry, "xxh3_64"));
}

/* Reads a manifest and checks that it is whole. The caller decrefs *manifest. */
static status manifest_read(const char *folder, json_t **manifest, message *why)
{
    char path[PATH_BYTES], hex[HASH_TEXT];
    *manifest = NULL;
    path_join(path, folder, MANIFEST);
    if (!file_exists(path))
        return fail(why, ERR_INPUT, "%s: is missing: %s is not a checkpoint that was finished", path, folder);
    TRY(json_text_read(manifest, path, MANIFEST_LIMIT, why));
    const char *format = json_string_value(json_object_get(*manifest, "format")),
               *self = json_string_value(json_object_get(*manifest, "self"));
    const json_t *files = json_object_get(*manifest, "files");
    if (!format || strcmp(format, FORMAT) != 0)
        return fail(why, ERR_INPUT, "%s: format is \"%s\", expected \"%s\"", path, format ? format : "",
                    FORMAT);
    if (!json_is_array(files) || !self)
        return fail(why, ERR_INPUT, "%s: \"files\" or \"self\" is missing", path);
    self_hash(hex, files);
    if (strcmp(hex, self) != 0)
        return fail(why, ERR_INPUT, "%s: is damaged: its own hash is %s, it says %s", path, hex, self);
    for (size_t i = 0; i < json_array_size(files); i++)
        if (!entry_valid(json_array_get(files, i)))
            return fail(why, ERR_INPUT, "%s: entry %zu of \"files\" is malformed", path, i);
    return OK;
}

status manifest_check(const char *folder, message *why)
{
    json_t *manifest;
    const status s = manifest_read(folder, &manifest, why);
    json_decref(manifest);
    return s;
}

static bool listed(const json_t *files, const char *name)
{
    for (size_t i = 0; i < json_array_size(files); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(files, i), "name")), name) == 0)
            return true;
    return false;
}

/* True when some reader opens a file of this name as part of the checkpoint: the manifest must list it. */
static bool is_read(const char *name)
{
    static const char *const names[] = {"config.json", "options.yaml", "state.json",
                                        "model.safetensors.index.json"};
    static const char *const prefixes[] = {"model", "optim-"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    const char *dot = strrchr(name, '.');
    if (!dot || strcmp(dot, ".safetensors") != 0) return false;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    return false;
}

static bool is_content(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, MANIFEST) != 0;
}

/* ERR_INPUT names the first file that matters and is not listed. */
static status check_unlisted(const char *folder, const json_t *files, bool (*matters)(const char *name),
                             message *why)
{
    DIR *dir = opendir(folder);
    if (!dir) return fail(why, ERR_INPUT, "%s: cannot be listed: %s", folder, strerror(errno));
    status s = OK;
    for (const struct dirent *entry; s == OK && (entry = readdir(dir));)
        if (matters(entry->d_name) && !listed(files, entry->d_name))
            s = fail(
                why, ERR_INPUT,
                "%s/%s: does not belong to this checkpoint, its manifest does not list it: move it elsewhere",
                folder, entry->d_name);
    closedir(dir);
    return s;
}

status manifest_lists_all(const char *folder, message *why)
{
    json_t *manifest;
    TRY(manifest_read(folder, &manifest, why));
    const status s = check_unlisted(folder, json_object_get(manifest, "files"), is_content, why);
    json_decref(manifest);
    return s;
}

/* Each file goes to the share that has the fewest bytes so far. */
static status files_verify(const char *folder, const json_t *files, int share, int shares, message *why)
{
    uint64_t *const bytes = memory_new(shares, sizeof *bytes, "%d shares", shares);
    status s = OK;
    for (size_t i = 0; s == OK && i < json_array_size(files); i++) {
        const json_t *const entry = json_array_get(files, i);
        int least = 0;
        for (int n = 1; n < shares; n++)
            if (bytes[n] < bytes[least]) least = n;
        bytes[least] += (uint64_t)json_integer_value(json_object_get(entry, "bytes"));
        if (least == share) s = file_verify(folder, entry, why);
    }
    free(bytes);
    return s;
}

status manifest_verify_share(const char *folder, int share, int shares, message *why)
{
    json_t *manifest;
    status s = manifest_read(folder, &manifest, why);
    const json_t *files = json_object_get(manifest, "files");
    if (s == OK) s = check_unlisted(folder, files, is_read, why);
    if (s == OK) s = files_verify(folder, files, share, shares, why);
    json_decref(manifest);
    return s;
}
