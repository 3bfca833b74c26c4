/* Reads, checks and writes dataset.json. A manifest is believed only if its fingerprint, a SHA-256 over a
 * fixed text form of identity and shards, is that of its contents. To write one means to merge: under a lock
 * on the folder, entries of the old manifest whose files still exist are kept, and the new ones are added. */
#include "data/shards/dataset_json.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define FORMAT "remla dataset 1"
enum { MANIFEST_LIMIT = 1 << 24, SHORTEST_ENTRY = 240 };

void dataset_manifest_free(dataset_manifest *m)
{
    free(m->shard);
    *m = (dataset_manifest){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const shard_summary *)a)->name, ((const shard_summary *)b)->name);
}

const shard_summary *dataset_manifest_find(const dataset_manifest *m, const char *name)
{
    shard_summary key;
    if (strlen(name) >= sizeof key.name) return NULL;
    strcpy(key.name, name);
    return m->count ? bsearch(&key, m->shard, (size_t)m->count, sizeof key, by_name) : NULL;
}

const char *shard_identity_difference(const shard_identity *a, const shard_identity *b)
{
    if (a->token_bytes != b->token_bytes) return "token size";
    if (a->vocabulary != b->vocabulary) return "vocabulary";
    if (a->eos != b->eos || a->bos != b->bos || a->pad != b->pad)
        return "end-of-text, beginning or padding id";
    if (strcmp(a->tokenizer_sha256, b->tokenizer_sha256) != 0) return "tokenizer";
    return NULL;
}

static void fingerprint(const dataset_manifest *m, char out[SHA256_TEXT])
{
    enum { LINE = 768 };
    const shard_identity *i = &m->identity;
    const size_t capacity = (size_t)(m->count + 1) * LINE;
    char *text = memory_new(m->count + 1, LINE, "a line for each shard");
    size_t at = (size_t)snprintf(text, capacity, "%d %lld %lld %lld %lld %s\n", i->token_bytes,
                                 (long long)i->vocabulary, (long long)i->eos, (long long)i->bos,
                                 (long long)i->pad, i->tokenizer_sha256[0] ? i->tokenizer_sha256 : "-");
    for (int64_t k = 0; k < m->count; k++) {
        const shard_summary *s = &m->shard[k];
        at += (size_t)snprintf(text + at, capacity - at, "%s %lld %lld %lld %s %s %s\n", s->name,
                               (long long)s->tokens, (long long)s->documents, (long long)s->bytes,
                               s->xxh3_128, s->sha256, s->index_sha256);
    }
    digest_sha256(text, at, out);
    free(text);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static status malformed(const char *path, const char *what, message *why)
{
    return fail(why, ERR_INPUT, "%s: %s", path, what);
}

/* Reads a whole number of at least `least`; -1 for null, if that is allowed. */
static bool get_number(const json_t *object, const char *key, int64_t least, bool maybe_null, int64_t *out)
{
    const json_t *value = json_object_get(object, key);
    *out = -1;
    if (maybe_null && json_is_null(value)) return true;
    if (!json_is_integer(value)) return false;
    *out = json_integer_value(value);
    return *out >= least;
}

static bool get_hash(const json_t *object, const char *key, char *out, int bytes)
{
    uint8_t raw[SHA256_BYTES];
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || !digest_hex_read(raw, text, bytes)) return false;
    strcpy(out, text);
    return true;
}

static status identity_parse(shard_identity *i, const char *path, const json_t *all, message *why)
{
    int64_t width;
    const json_t *tokenizer = json_object_get(all, "tokenizer"),
                 *sha = json_object_get(all, "tokenizer_sha256");
    if (!get_number(all, "token_bytes", 2, false, &width) || (width != 2 && width != 4))
        return malformed(path, "\"token_bytes\" is not 2 or 4", why);
    i->token_bytes = (int)width;
    if (!get_number(all, "vocabulary", 1, true, &i->vocabulary))
        return malformed(path, "\"vocabulary\" is not a positive number or null", why);
    if (!get_number(all, "eos", 0, true, &i->eos) || !get_number(all, "bos", 0, true, &i->bos) ||
        !get_number(all, "pad", 0, true, &i->pad))
        return malformed(path, "\"eos\", \"bos\" or \"pad\" is not an id or null", why);
    if (!json_is_string(tokenizer) || json_string_length(tokenizer) >= sizeof i->tokenizer)
        return malformed(path, "\"tokenizer\" is not a short text", why);
    strcpy(i->tokenizer, json_string_value(tokenizer));
    if (!json_is_null(sha) && !get_hash(all, "tokenizer_sha256", i->tokenizer_sha256, SHA256_BYTES))
        return malformed(path, "\"tokenizer_sha256\" is not a SHA-256 or null", why);
    return OK;
}

/* A name is a plain file name: a manifest must not lead out of its folder. */
static bool name_valid(const char *name)
{
    if (!name || !*name || strlen(name) >= sizeof((shard_summary *)0)->name || name[0] == '.') return false;
    for (const char *c = name; *c; c++)
        if (*c == '/' || (unsigned char)*c < 0x20) return false;
    return true;
}

static status shard_parse(shard_summary *s, const char *path, const json_t *entry, message *why)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    if (!name_valid(name))
        return malformed(path, "a shard's \"name\" is missing or not a plain file name", why);
    strcpy(s->name, name);
    if (get_number(entry, "tokens", 1, false, &s->tokens) &&
        get_number(entry, "documents", 1, false, &s->documents) &&
        get_number(entry, "bytes", 1, false, &s->bytes) && get_hash(entry, "xxh3_128", s->xxh3_128, 16) &&
        get_hash(entry, "sha256", s->sha256, SHA256_BYTES) &&
        get_hash(entry, "index_sha256", s->index_sha256, SHA256_BYTES))
        return OK;
    return fail(
        why, ERR_INPUT,
        "%s: the entry of %s has no good \"tokens\", \"documents\", \"bytes\", \"xxh3_128\", \"sha256\" "
        "or \"index_sha256\"",
        path, name);
}

static status shards_parse(dataset_manifest *m, const char *path, const json_t *list, int64_t bytes,
                           message *why)
{
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > (size_t)bytes / SHORTEST_ENTRY)
        return malformed(path, "\"shards\" is not a list of shards", why);
    const size_t count = json_array_size(list);
    m->shard = memory_new((int64_t)count, sizeof *m->shard, "the shards of %s", path);
    for (size_t i = 0; i < count; i++) {
        TRY(shard_parse(&m->shard[i], path, json_array_get(list, i), why));
        if (i > 0 && by_name(&m->shard[i - 1], &m->shard[i]) >= 0)
            return fail(why, ERR_INPUT, "%s: %s is listed after %s, not in order of name", path,
                        m->shard[i].name, m->shard[i - 1].name);
        m->count++;
    }
    return OK;
}

static status manifest_parse(dataset_manifest *m, const char *path, const json_t *all, int64_t bytes,
                             message *why)
{
    const char *format = json_string_value(json_object_get(all, "format"));
    char hash[SHA256_TEXT];
    if (!format || strcmp(format, FORMAT) != 0)
        return fail(why, ERR_INPUT, "%s: format is \"%.60s\", expected \"%s\"", path, format ? format : "",
                    FORMAT);
    TRY(identity_parse(&m->identity, path, all, why));
    TRY(shards_parse(m, path, json_object_get(all, "shards"), bytes, why));
    if (!get_hash(all, "fingerprint", m->fingerprint, SHA256_BYTES))
        return malformed(path, "\"fingerprint\" is not a SHA-256", why);
    fingerprint(m, hash);
    if (strcmp(hash, m->fingerprint) != 0)
        return fail(why, ERR_INPUT, "%s: is damaged: its fingerprint is %s, it says %s", path, hash,
                    m->fingerprint);
    return OK;
}

status dataset_manifest_parse(dataset_manifest *m, const char *path, const char *text, int64_t bytes,
                              message *why)
{
    *m = (dataset_manifest){0};
    json_t *all;
    TRY(json_text_parse(&all, text, bytes, path, why));
    const status s = manifest_parse(m, path, all, bytes, why);
    json_decref(all);
    if (s != OK) dataset_manifest_free(m);
    return s;
}

status dataset_manifest_read(dataset_manifest *m, const char *path, message *why)
{
    char *text;
    int64_t bytes;
    *m = (dataset_manifest){0};
    TRY(file_read_text(path, MANIFEST_LIMIT, &text, &bytes, why));
    const status s = dataset_manifest_parse(m, path, text, bytes, why);
    free(text);
    return s;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static json_t *number_or_null(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

static json_t *shard_json(const shard_summary *s)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "name", s->name, "tokens", (json_int_t)s->tokens,
                     "documents", (json_int_t)s->documents, "bytes", (json_int_t)s->bytes, "xxh3_128",
                     s->xxh3_128, "sha256", s->sha256, "index_sha256", s->index_sha256);
}

/* NULL: a name is not UTF-8. */
static json_t *manifest_json(const dataset_manifest *m)
{
    const shard_identity *i = &m->identity;
    json_t *shards = json_array();
    bool listed = true;
    for (int64_t k = 0; k < m->count && listed; k++)
        listed = json_array_append_new(shards, shard_json(&m->shard[k])) == 0;
    if (!listed) {
        json_decref(shards);
        return NULL;
    }
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:s}", "format", FORMAT, "token_bytes",
                     i->token_bytes, "vocabulary", number_or_null(i->vocabulary), "eos",
                     number_or_null(i->eos), "bos", number_or_null(i->bos), "pad", number_or_null(i->pad),
                     "tokenizer", i->tokenizer, "tokenizer_sha256",
                     i->tokenizer_sha256[0] ? json_string(i->tokenizer_sha256) : json_null(), "shards",
                     shards, "fingerprint", m->fingerprint);
}

static status manifest_save(dataset_manifest *m, const char *path, message *why)
{
    fingerprint(m, m->fingerprint);
    json_t *all = manifest_json(m);
    if (!all) return fail(why, ERR_INPUT, "%s: a name is not UTF-8 and cannot be listed", path);
    return json_text_write(all, JSON_INDENT(1), path, NULL, why);
}

/* Appends, or replaces the entry of the same name. The order of names is made later. */
static void put(dataset_manifest *m, const shard_summary *s)
{
    int64_t k = 0;
    while (k < m->count && strcmp(m->shard[k].name, s->name) != 0) k++;
    m->shard[k] = *s;
    if (k == m->count) m->count++;
}

/* Starts `m` with the entries of the old manifest whose files still exist. */
static status keep_listed(dataset_manifest *m, const char *folder, const char *path, int64_t added,
                          message *why)
{
    dataset_manifest old = {0};
    if (file_exists(path)) TRY(dataset_manifest_read(&old, path, why));
    m->shard = memory_new(old.count + added, sizeof *m->shard, "the shards of %s", path);
    for (int64_t k = 0; k < old.count; k++) {
        char file[PATH_BYTES];
        if (!file_exists(path_join(file, folder, old.shard[k].name))) continue;
        put(m, &old.shard[k]);
    }
    const char *other = m->count ? shard_identity_difference(&old.identity, &m->identity) : NULL;
    dataset_manifest_free(&old);
    if (!other) return OK;
    return fail(why, ERR_INPUT, "%s: lists shards of another %s; write these into a folder of their own",
                path, other);
}

/* Locks the folder, so that two programs that write shards into it take turns. */
static int lock_folder(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) flock(fd, LOCK_EX); /* some network file systems have no locks: go on without */
    return fd;
}

status dataset_manifest_write(const char *folder, const shard_identity *identity, const shard_summary *shard,
                              int64_t count, message *why)
{
    REQUIRE(count > 0, "%s: no shards", folder);
    char path[PATH_BYTES];
    dataset_manifest m = {.identity = *identity};
    path_join(path, folder, DATASET_JSON);
    const int lock = lock_folder(folder);
    status s = keep_listed(&m, folder, path, count, why);
    for (int64_t k = 0; k < count && s == OK; k++) put(&m, &shard[k]);
    if (s == OK) {
        qsort(m.shard, (size_t)m.count, sizeof *m.shard, by_name);
        s = manifest_save(&m, path, why);
    }
    dataset_manifest_free(&m);
    if (lock >= 0) close(lock);
    return s;
}

status dataset_manifest_check(const char *folder, const shard_identity *identity, message *why)
{
    char path[PATH_BYTES];
    dataset_manifest m = {.identity = *identity};
    const status s = keep_listed(&m, folder, path_join(path, folder, DATASET_JSON), 1, why);
    dataset_manifest_free(&m);
    return s;
}
