/* Verifies shards in full: hashes of the files against dataset.json, checksums of all frames, every id
 * against the vocabulary, and ends of documents against the end-of-text id. The last check is a heuristic,
 * since imported documents need not end with that id: an end is wrong only if most documents do end with it
 * and this one has it inside instead. */
#include "data/shards/shard_verify.h"
#include "base/memory.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_AT_ONCE = 1 << 16 };

/* ---- one shard ----------------------------------------------------------------------------------------- */

static status wrong_hash(const char *path, const char *kind, const char *found, const listed *l,
                         const char *said, message *why)
{
    return fail(why, ERR_INPUT, "%s: is damaged: its %s is %s, %s says %s", path, kind, found, l->path, said);
}

static status hashes_check(const shard *s, const listed *l, const shard_summary *e, message *why)
{
    char index[PATH_BYTES];
    digest_text found;
    TRY(digest_file(s->path, &found, NULL, why));
    if (strcmp(found.xxh3_128, e->xxh3_128) != 0)
        return wrong_hash(s->path, "XXH3-128", found.xxh3_128, l, e->xxh3_128, why);
    if (strcmp(found.sha256, e->sha256) != 0)
        return wrong_hash(s->path, "SHA-256", found.sha256, l, e->sha256, why);
    TRY(shard_beside(index, s->path, ".index", why));
    TRY(digest_file(index, &found, NULL, why));
    if (strcmp(found.sha256, e->index_sha256) != 0)
        return wrong_hash(index, "SHA-256", found.sha256, l, e->index_sha256, why);
    const char *other = shard_identity_difference(&s->identity, &l->manifest.identity);
    if (other)
        return fail(why, ERR_INPUT, "%s: its header names another %s than %s", s->path, other, l->path);
    return OK;
}

/* ---- where documents end, against the end-of-text id --------------------------------------------------- */

typedef struct ends_check {
    int64_t eos;
    int64_t document;  /* the one that the next token is of */
    bool inside;       /* it has had the id before its end */
    bool open_before;  /* the one before it ended without */
    int64_t open;      /* documents that did, but for the last */
    int64_t seen;      /* ids */
    int64_t misplaced; /* first document whose end is contradicted; -1: none */
} ends_check;

static void ends_look(ends_check *c, const shard *s, const int32_t *ids, int64_t at, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const bool eos = ids[i] == c->eos, last = at + i + 1 == s->document_end[c->document];
        c->seen += eos;
        if (!last) {
            c->inside = c->inside || eos;
            continue;
        }
        const bool open = !eos && c->document + 1 < s->documents;
        if (c->misplaced < 0 && c->inside && (open || c->open_before))
            c->misplaced = c->document - (c->open_before ? 1 : 0);
        c->open += open;
        c->open_before = open;
        c->inside = false;
        c->document++;
    }
}

static status ends_judge(const ends_check *c, const shard *s, message *why)
{
    if (c->misplaced < 0 || 2 * c->open >= s->documents) return OK;
    char index[PATH_BYTES];
    TRY(shard_beside(index, s->path, ".index", why));
    return fail(
        why, ERR_INPUT,
        "%s: is damaged: document %lld ends at token %lld, which is not the end-of-text id %lld, although "
        "%lld of %lld documents end with it and it stands inside this document or the next",
        index, (long long)c->misplaced, (long long)s->document_end[c->misplaced], (long long)c->eos,
        (long long)(s->documents - c->open), (long long)s->documents);
}

static status tokens_check(verified *v, const shard *s, message *why)
{
    ends_check ends = {.eos = s->identity.eos, .misplaced = -1};
    const int64_t limit = s->identity.vocabulary < 0 ? (int64_t)1 << 32 : s->identity.vocabulary;
    int32_t *ids = memory_new(TOKENS_AT_ONCE, sizeof *ids, "ids of %s", s->path);
    status result = OK;
    for (int64_t at = 0; at < s->tokens && result == OK; at += TOKENS_AT_ONCE) {
        const int64_t left = s->tokens - at;
        const int64_t count = left < TOKENS_AT_ONCE ? left : TOKENS_AT_ONCE;
        result = shard_read(s, at, count, limit, ids, why);
        if (result == OK && s->indexed && ends.eos >= 0) ends_look(&ends, s, ids, at, count);
    }
    free(ids);
    v->open_ended = ends.seen ? ends.open : 0;
    return result == OK ? ends_judge(&ends, s, why) : result;
}

static status contents_check(verified *v, listed *l, shard *s, message *why)
{
    const shard_summary *entry;
    TRY(listed_check(l, s, why));
    TRY(listed_find(l, s->path, &entry, why));
    if (entry) TRY(hashes_check(s, l, entry, why));
    *v = (verified){.tokens = s->tokens,
                    .documents = s->documents,
                    .bytes = file_bytes(s->path),
                    .vocabulary = s->identity.vocabulary,
                    .eos = s->identity.eos,
                    .listed = entry != NULL};
    return tokens_check(v, s, why);
}

status shard_verify(verified *v, listed *l, const char *path, message *why)
{
    shard s;
    if (!file_exists(path)) return fail(why, ERR_INPUT, "%s: is missing", path);
    TRY(shard_open(&s, path, why));
    const status result = contents_check(v, l, &s, why);
    shard_close(&s);
    return result;
}

/* ---- finding them -------------------------------------------------------------------------------------- */

static int is_shard(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && shard_named(entry->d_name);
}

static bool contains(const path_list *list, int from, const char *path)
{
    for (int i = from; i < list->count; i++)
        if (!strcmp(list->path[i], path)) return true;
    return false;
}

/* Adds the shards that FOLDER/dataset.json lists, unless the list has them from index `from` on. */
static status add_listed(path_list *out, int from, const char *folder, const char *manifest_path,
                         message *why)
{
    dataset_manifest m;
    char path[PATH_BYTES];
    TRY(dataset_manifest_read(&m, manifest_path, why));
    for (int64_t i = 0; i < m.count; i++) {
        snprintf(path, sizeof path, "%s%s", folder, m.shard[i].name);
        if (!contains(out, from, path)) path_list_add(out, path);
    }
    dataset_manifest_free(&m);
    return OK;
}

static status add_folder(path_list *out, const char *folder, message *why)
{
    const int before = out->count;
    char path[PATH_BYTES], prefix[PATH_BYTES];
    struct dirent **entry;
    const int count = scandir(folder, &entry, is_shard, alphasort);
    if (count < 0) return fail(why, ERR_INPUT, "%s: cannot be listed", folder);
    for (int i = 0; i < count; i++) {
        path_list_add(out, path_join(path, folder, entry[i]->d_name));
        free(entry[i]);
    }
    free(entry);
    path_join(prefix, folder, "");
    path_join(path, folder, DATASET_JSON);
    if (file_exists(path)) TRY(add_listed(out, before, prefix, path, why));
    return out->count > before ? OK : fail(why, ERR_INPUT, "%s: there are no shards in this folder", folder);
}

static status add_argument(path_list *out, const char *argument, message *why)
{
    if (folder_exists(argument)) return add_folder(out, argument, why);
    path_list found;
    TRY(path_list_expand(&found, &argument, 1, why));
    status s = OK;
    for (int i = 0; i < found.count && s == OK; i++) {
        const char *path = found.path[i], *name = path_base(path);
        char folder[PATH_BYTES];
        snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
        if (!strcmp(name, DATASET_JSON))
            s = add_listed(out, out->count, folder, path, why);
        else if (shard_named(name))
            path_list_add(out, path);
        else
            s = fail(why, ERR_INPUT,
                     "%s: is not a shard by its name: .ds, .ds.zst, %s or a folder was expected", path,
                     DATASET_JSON);
    }
    path_list_free(&found);
    return s;
}

status shard_verify_find(path_list *out, char *const *arguments, int count, message *why)
{
    *out = (path_list){0};
    status s = OK;
    for (int i = 0; i < count && s == OK; i++) s = add_argument(out, arguments[i], why);
    if (s != OK) path_list_free(out);
    return s;
}
