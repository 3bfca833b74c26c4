/* remla data inspect FILE...: what token files hold, ours and other programs'. Reads their first tokens and
 * what lies beside them. */
#include "base/json_text.h"
#include "base/log.h"
#include "data/prepare/import.h"
#include "data/shards/shard_verify.h"
#include "data/tokenizer/tokenizer.h"
#include "train/commands/commands.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_TOKENS = 16, TEXT_BYTES = 1024 };

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
    char text[TEXT_BYTES]; /* of `first`, UTF-8; empty: no tokenizer was given */
} found;

/* ---- printing ------------------------------------------------------------------------------------------ */

static json_t *number_or_null(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

/* Also null: a name that is not UTF-8. */
static json_t *text_or_null(const char *text)
{
    json_t *string = text[0] ? json_string(text) : NULL;
    return string ? string : json_null();
}

/* How much smaller the file is than its ids; 0 where their number is not known. */
static double ratio(const found *f)
{
    return f->tokens < 0 ? 0 : (double)f->tokens * f->identity.token_bytes / (double)f->bytes;
}

static json_t *found_json(const found *f)
{
    const shard_identity *i = &f->identity;
    json_t *ids = json_array();
    for (int k = 0; k < f->first_count; k++) json_array_append_new(ids, json_integer((uint32_t)f->first[k]));
    json_t *all = json_pack(
        "{s:o, s:s, s:o, s:o, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "path",
        text_or_null(f->path), "format", f->format, "tokens", number_or_null(f->tokens), "documents",
        number_or_null(f->documents), "token_bytes", i->token_bytes, "bytes", (json_int_t)f->bytes, "ratio",
        f->tokens < 0 ? json_null() : json_real(ratio(f)), "vocabulary", number_or_null(i->vocabulary), "eos",
        number_or_null(i->eos), "bos", number_or_null(i->bos), "pad", number_or_null(i->pad), "tokenizer",
        text_or_null(i->tokenizer), "tokenizer_sha256", text_or_null(i->tokenizer_sha256), "listed",
        f->listed, "first_tokens", ids, "text", text_or_null(f->text));
    if (f->shards) json_object_set_new(all, "shards", json_integer(f->shards));
    if (f->shards) json_object_set_new(all, "fingerprint", json_string(f->fingerprint));
    return all;
}

/* What comes out of files must not steer a terminal. Returns `text`. */
static char *one_line(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f) *c = ' ';
    return text;
}

static void print_identity(const shard_identity *i)
{
    char vocabulary[32] = "not known", eos[40] = "", name[160] = "", sha[80] = "";
    if (i->vocabulary >= 0) snprintf(vocabulary, sizeof vocabulary, "%lld", (long long)i->vocabulary);
    if (i->eos >= 0) snprintf(eos, sizeof eos, ", end of text %lld", (long long)i->eos);
    if (i->tokenizer[0]) snprintf(name, sizeof name, ", tokenizer %s", i->tokenizer);
    if (i->tokenizer_sha256[0]) snprintf(sha, sizeof sha, " (sha256 %.12s...)", i->tokenizer_sha256);
    log_line("  vocabulary %s%s%s%s", vocabulary, eos, one_line(name), sha);
}

static const char *count_text(int64_t count, char *text, size_t size)
{
    snprintf(text, size, "%lld", (long long)count);
    return count < 0 ? "an unknown number of" : text;
}

static void print_found(found *f)
{
    char tokens[32], documents[32], smaller[64] = "", text[FIRST_TOKENS * 12 + 1] = "";
    log_line("%s: %s, %s tokens of %d bytes, %s documents", f->path, f->format,
             count_text(f->tokens, tokens, sizeof tokens), f->identity.token_bytes,
             count_text(f->documents, documents, sizeof documents));
    if (f->shards) log_line("  %lld shards, fingerprint %s", (long long)f->shards, f->fingerprint);
    if (ratio(f) > 1) snprintf(smaller, sizeof smaller, ", %.2f times smaller than its ids", ratio(f));
    log_line("  %lld bytes%s%s", (long long)f->bytes, smaller, f->listed ? "; listed in dataset.json" : "");
    print_identity(&f->identity);
    for (int k = 0, at = 0; k < f->first_count; k++)
        at += snprintf(text + at, sizeof text - (size_t)at, " %u", (uint32_t)f->first[k]);
    if (f->first_count) log_line("  begins%s", text);
    if (f->text[0]) log_line("  as text: %s", one_line(f->text));
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

/* The file of another program, as `data import` would read it. */
static status look_at_source(found *f, const char *path, message *why)
{
    const import_settings settings = {.format = IMPORT_AUTO, .eos = -1, .column = ""};
    import_source s;
    TRY(import_open(&s, path, &settings, why));
    *f = (found){
        .path = path,
        .format = s.format,
        .identity = {.token_bytes = s.token_bytes, .vocabulary = -1, .eos = s.eos, .bos = -1, .pad = -1},
        .tokens = s.tokens,
        .documents = s.keeps_documents ? s.documents : -1,
        .bytes = s.bytes};
    strcpy(f->identity.tokenizer, s.tokenizer);
    status result = OK;
    int64_t count = 1;
    bool ends = false;
    while (f->first_count < FIRST_TOKENS && (count > 0 || ends) && result == OK) {
        result = import_next(&s, (uint32_t *)f->first + f->first_count, FIRST_TOKENS - f->first_count, &count,
                             &ends, why);
        if (result == OK) f->first_count += (int)count;
    }
    import_close(&s);
    return result;
}

typedef struct report {
    listed l;
    const tokenizer *t; /* NULL: none was given */
    json_t *files;      /* NULL: for people */
    json_t *unreadable; /* sentences; NULL: for people */
    int looked_at, failed;
    message first; /* failure */
} report;

/* The first ids as text. An id that the tokenizer does not have is only worth a warning: it is what one looks
 * for. */
static void first_text(found *f, const tokenizer *t)
{
    text_buffer text = {0};
    message why;
    if (!t) return;
    if (f->identity.tokenizer_sha256[0] && strcmp(f->identity.tokenizer_sha256, tokenizer_sha256(t)) != 0)
        log_warning("%s: was made by another tokenizer.json than that of %s", f->path, tokenizer_name(t));
    if (tokenizer_decode(t, (const uint32_t *)f->first, f->first_count, false, &text, &why) != OK)
        log_warning("%s: cannot be shown as text: %s", f->path, why.text);
    else if (text.bytes < TEXT_BYTES && !memchr(text.text, 0, (size_t)text.bytes))
        memcpy(f->text, text.text, (size_t)text.bytes);
    text_buffer_free(&text);
}

static status look_at(report *r, const char *path, message *why)
{
    const char *name = path_base(path);
    found f;
    if (!strcmp(name, DATASET_JSON))
        TRY(look_at_manifest(&f, path, why));
    else if (shard_named(name))
        TRY(look_at_shard(&f, &r->l, path, why));
    else
        TRY(look_at_source(&f, path, why));
    if (f.first_count) first_text(&f, r->t);
    if (r->files)
        json_array_append_new(r->files, found_json(&f));
    else
        print_found(&f);
    return OK;
}

/* The files behind one that cannot be read are looked at all the same. */
static void count(report *r, status s, const message *why)
{
    r->looked_at++;
    if (s == OK) return;
    if (r->failed++ == 0) r->first = *why;
    if (r->unreadable)
        json_array_append_new(r->unreadable, json_text_string(why->text));
    else
        log_warning("%s", why->text);
}

/* A folder is what its dataset.json says, or what it is as an MDS data set, or its shards. */
static void look_at_argument(report *r, char *argument)
{
    char path[PATH_BYTES];
    path_list list = {0};
    message why;
    const bool folder = folder_exists(argument);
    if (folder && file_exists(path_join(path, argument, DATASET_JSON)))
        path_list_add(&list, path);
    else if (folder && file_exists(path_join(path, argument, "index.json")))
        path_list_add(&list, argument);
    else {
        const status s = folder ? shard_verify_find(&list, &argument, 1, &why)
                                : path_list_expand(&list, (const char *const *)&argument, 1, &why);
        if (s != OK) count(r, s, &why);
    }
    for (int i = 0; i < list.count; i++) {
        const status s = look_at(r, list.path[i], &why);
        count(r, s, &why);
    }
    path_list_free(&list);
}

static void print_json(report *r)
{
    json_text_print(json_pack("{s:O, s:O}", "files", r->files, "unreadable", r->unreadable),
                    JSON_REAL_PRECISION(6));
}

status cmd_data_inspect(const command_line *line, options *o, const comm *c, message *why)
{
    (void)c;
    tokenizer *t = NULL;
    if (o->tokenize_model[0]) TRY(tokenizer_open(&t, o->tokenize_model, why));
    report r = {
        .t = t, .files = line->json ? json_array() : NULL, .unreadable = line->json ? json_array() : NULL};
    for (int i = 0; i < line->positionals; i++) look_at_argument(&r, line->positional[i]);
    if (r.files) print_json(&r);
    json_decref(r.files);
    json_decref(r.unreadable);
    listed_free(&r.l);
    tokenizer_close(t);
    if (!r.failed) return OK;
    if (r.looked_at == 1) return fail(why, ERR_INPUT, "%s", r.first.text);
    return fail(why, ERR_INPUT, "%d of %d could not be read; the first: %.900s", r.failed, r.looked_at,
                r.first.text);
}
