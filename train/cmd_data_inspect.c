/* remla data inspect FILE...: what token shards hold. Reads their first tokens and what lies beside them. */
#include "base/log.h"
#include "data/shard_verify.h"
#include "train/commands.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_TOKENS = 16 };

/* What is said of a file, whatever wrote it. */
typedef struct found {
    const char *path, *format;
    shard_identity identity;
    int64_t tokens, documents;
    int64_t bytes;                 /* of the data file */
    bool listed;                   /* in a dataset.json */
    int64_t shards;                /* of a dataset.json; 0: it is none */
    char fingerprint[SHA256_TEXT]; /* of a dataset.json */
    int32_t first[FIRST_TOKENS];
    int first_count;
} found;

/* ---- printing ------------------------------------------------------------------------------------------ */

static json_t *number_or_null(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

static json_t *text_or_null(const char *text) { return text[0] ? json_string(text) : json_null(); }

static double ratio(const found *f) { return (double)f->tokens * f->identity.token_bytes / (double)f->bytes; }

static json_t *found_json(const found *f)
{
    const shard_identity *i = &f->identity;
    json_t *ids = json_array();
    for (int k = 0; k < f->first_count; k++) json_array_append_new(ids, json_integer((uint32_t)f->first[k]));
    json_t *all = json_pack(
        "{s:s, s:s, s:I, s:I, s:i, s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "path", f->path, "format",
        f->format, "tokens", (json_int_t)f->tokens, "documents", (json_int_t)f->documents, "token_bytes",
        i->token_bytes, "bytes", (json_int_t)f->bytes, "ratio", ratio(f), "vocabulary",
        number_or_null(i->vocabulary), "eos", number_or_null(i->eos), "bos", number_or_null(i->bos), "pad",
        number_or_null(i->pad), "tokenizer", text_or_null(i->tokenizer), "tokenizer_sha256",
        text_or_null(i->tokenizer_sha256), "listed", f->listed);
    if (f->shards) json_object_set_new(all, "shards", json_integer(f->shards));
    if (f->shards) json_object_set_new(all, "fingerprint", json_string(f->fingerprint));
    if (f->first_count)
        json_object_set_new(all, "first_tokens", ids);
    else
        json_decref(ids);
    return all;
}

static void print_identity(const shard_identity *i)
{
    char vocabulary[32] = "not known", eos[40] = "", name[160] = "", sha[80] = "";
    if (i->vocabulary >= 0) snprintf(vocabulary, sizeof vocabulary, "%lld", (long long)i->vocabulary);
    if (i->eos >= 0) snprintf(eos, sizeof eos, ", end of text %lld", (long long)i->eos);
    if (i->tokenizer[0]) snprintf(name, sizeof name, ", tokenizer %s", i->tokenizer);
    if (i->tokenizer_sha256[0]) snprintf(sha, sizeof sha, " (sha256 %.12s...)", i->tokenizer_sha256);
    log_line("  vocabulary %s%s%s%s", vocabulary, eos, name, sha);
}

static void print_found(const found *f)
{
    log_line("%s: %s, %lld tokens of %d bytes, %lld documents", f->path, f->format, (long long)f->tokens,
             f->identity.token_bytes, (long long)f->documents);
    if (f->shards) log_line("  %lld shards, fingerprint %s", (long long)f->shards, f->fingerprint);
    log_line("  %lld bytes, %.2f times smaller than its ids%s", (long long)f->bytes, ratio(f),
             f->listed ? "; listed in dataset.json" : "");
    print_identity(&f->identity);
    char text[FIRST_TOKENS * 12 + 1] = "";
    for (int k = 0, at = 0; k < f->first_count; k++)
        at += snprintf(text + at, sizeof text - (size_t)at, " %u", (uint32_t)f->first[k]);
    if (f->first_count) log_line("  begins%s", text);
}

/* ---- finding out --------------------------------------------------------------------------------------- */

static status look_at_shard(found *f, listed *l, const char *path, message *why)
{
    shard s;
    const shard_summary *entry;
    TRY(shard_open(&s, path, why));
    status result = listed_check(l, &s, why);
    if (result == OK) result = listed_find(l, path, &entry, why);
    if (result == OK) {
        *f = (found){.path = path,
                     .format = s.number ? "ds.zst" : "ds",
                     .identity = s.identity,
                     .tokens = s.tokens,
                     .documents = s.documents,
                     .bytes = file_bytes(path),
                     .listed = entry != NULL,
                     .first_count = (int)(s.tokens < FIRST_TOKENS ? s.tokens : FIRST_TOKENS)};
        result = shard_read(&s, 0, f->first_count, (int64_t)1 << 32, f->first, why);
    }
    shard_close(&s);
    return result;
}

static status look_at_manifest(found *f, const char *path, message *why)
{
    dataset_manifest m;
    TRY(dataset_manifest_read(&m, path, why));
    *f = (found){.path = path, .format = "dataset.json", .identity = m.identity, .shards = m.count};
    strcpy(f->fingerprint, m.fingerprint);
    for (int64_t i = 0; i < m.count; i++) {
        f->tokens += m.shard[i].tokens;
        f->documents += m.shard[i].documents;
        f->bytes += m.shard[i].bytes;
    }
    dataset_manifest_free(&m);
    return OK;
}

typedef struct report {
    listed l;
    json_t *files; /* NULL: for people */
} report;

static status look_at(report *r, const char *path, message *why)
{
    found f;
    TRY(strcmp(path_base(path), DATASET_JSON) != 0 ? look_at_shard(&f, &r->l, path, why)
                                                   : look_at_manifest(&f, path, why));
    if (r->files)
        json_array_append_new(r->files, found_json(&f));
    else
        print_found(&f);
    return OK;
}

/* A folder is what its dataset.json says; without one, its shards. */
static status look_at_argument(report *r, char *argument, message *why)
{
    char path[PATH_BYTES];
    path_list list;
    const bool folder = folder_exists(argument);
    if (folder && file_exists(path_join(path, argument, DATASET_JSON))) return look_at(r, path, why);
    TRY(folder ? shards_find(&list, &argument, 1, why)
               : path_list_expand(&list, (const char *const *)&argument, 1, why));
    status s = OK;
    for (int i = 0; i < list.count && s == OK; i++) s = look_at(r, list.path[i], why);
    path_list_free(&list);
    return s;
}

static void print_json(report *r)
{
    json_t *all = json_pack("{s:O}", "files", r->files);
    char *text = json_dumps(all, JSON_REAL_PRECISION(6));
    if (!text) die(ERR_DEVICE, "no memory to print shards");
    printf("%s\n", text);
    free(text);
    json_decref(all);
}

status cmd_data_inspect(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    report r = {.files = line->json ? json_array() : NULL};
    status s = OK;
    for (int i = 0; i < line->positionals && s == OK; i++) s = look_at_argument(&r, line->positional[i], why);
    if (s == OK && r.files) print_json(&r);
    json_decref(r.files);
    listed_free(&r.l);
    return s;
}
