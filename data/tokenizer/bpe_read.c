/* Reads the object "model" of a tokenizer.json: vocabulary and merges. The vocabulary is walked twice: first
 * to measure the largest id and all text, then to fill arrays of exactly that size. The ids of a merge's
 * halves and of its result are looked up here, so that encoding only compares numbers. */
#include "base/memory.h"
#include "data/tokenizer/bpe_tables.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/json_fields.h"
#include "data/tokenizer/unicode.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reading {
    bpe *b;
    const json_t *model, *vocab;
    int64_t file_bytes, text_used;
    const char *path;
    message *why;
} reading;

/* ---- vocabulary ---------------------------------------------------------------------------------------- */

/* Measures the vocabulary: the largest id, which the file's own size bounds, and the bytes of all tokens. */
static status measure_vocabulary(reading *r, int64_t *text_bytes)
{
    const char *token;
    size_t bytes;
    json_t *id;
    *text_bytes = 0;
    json_object_keylen_foreach((json_t *)r->vocab, token, bytes, id)
    {
        const json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= r->file_bytes)
            return fail(
                r->why, ERR_INPUT,
                "%s: model.vocab: the id of \"%.100s\" is not a whole number below %lld, the file's size",
                r->path, token, (long long)r->file_bytes);
        if (value >= r->b->ids) r->b->ids = value + 1;
        r->b->tokens++;
        *text_bytes += (int64_t)bytes;
    }
    if (!r->b->tokens) return fail(r->why, ERR_INPUT, "%s: model.vocab is empty", r->path);
    return OK;
}

static token_text keep_text(reading *r, const char *text, int64_t bytes)
{
    const token_text kept = {.at = r->text_used, .bytes = bytes};
    memcpy(r->b->text + kept.at, text, (size_t)bytes);
    r->text_used += bytes;
    return kept;
}

static status keep_token(reading *r, const char *token, int64_t bytes, uint32_t id)
{
    bpe *b = r->b;
    if (b->spelled[id].bytes >= 0)
        return fail(r->why, ERR_INPUT, "%s: model.vocab: \"%.100s\" has id %u, and so has \"%.*s\"", r->path,
                    token, id, (int)(b->spelled[id].bytes > 100 ? 100 : b->spelled[id].bytes),
                    b->text + b->spelled[id].at);
    b->spelled[id] = b->raw[id] = keep_text(r, token, bytes);
    if (b->byte_level) {
        char *out = b->text + r->text_used;
        b->raw[id] = (token_text){.at = r->text_used, .bytes = byte_alphabet_bytes(out, token, bytes)};
        if (b->raw[id].bytes > 0) r->text_used += b->raw[id].bytes;
    }
    return OK;
}

static status read_vocabulary(reading *r)
{
    bpe *b = r->b;
    int64_t text_bytes;
    TRY(json_field_object(r->model, "vocab", r->path, "model", &r->vocab, r->why));
    TRY(measure_vocabulary(r, &text_bytes));
    b->text = memory_new(2 * text_bytes + 1, 1, "a vocabulary");
    b->spelled = memory_new(b->ids, sizeof *b->spelled, "a vocabulary");
    b->raw = memory_new(b->ids, sizeof *b->raw, "a vocabulary");
    for (int64_t i = 0; i < b->ids; i++) b->spelled[i].bytes = b->raw[i].bytes = -1;
    const char *token;
    size_t bytes;
    json_t *id;
    json_object_keylen_foreach((json_t *)r->vocab, token, bytes, id)
        TRY(keep_token(r, token, (int64_t)bytes, (uint32_t)json_integer_value(id)));
    return OK;
}

static uint32_t find_token(const reading *r, const char *text, int64_t bytes)
{
    const json_t *id = json_object_getn(r->vocab, text, (size_t)bytes);
    return id ? (uint32_t)json_integer_value(id) : NO_TOKEN;
}

/* ---- tokens by name ------------------------------------------------------------------------------------ */

static void index_bytes(reading *r)
{
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        int bytes;
        if (r->b->byte_level)
            bytes = utf8_put(name, byte_alphabet_letter(byte));
        else
            bytes = snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        r->b->byte[byte] = find_token(r, name, bytes);
    }
}

static status read_unknown(reading *r)
{
    const char *unk = NULL;
    int64_t bytes;
    TRY(json_field_text(r->model, "unk_token", r->path, "model", &unk, &bytes, r->why));
    r->b->unk = unk ? find_token(r, unk, bytes) : NO_TOKEN;
    if (unk && r->b->unk == NO_TOKEN)
        r->b->unk_missing = memory_check(strndup(unk, (size_t)bytes), "a token");
    return OK;
}

/* ---- merges -------------------------------------------------------------------------------------------- */

/* Splits entry `i` into its two halves: "left right", or ["left", "right"]. */
static status merge_halves(const reading *r, const json_t *entry, size_t i, const char *half[2],
                           int64_t bytes[2])
{
    if (json_is_array(entry) && json_array_size(entry) == 2 && json_is_string(json_array_get(entry, 0)) &&
        json_is_string(json_array_get(entry, 1))) {
        for (size_t k = 0; k < 2; k++) {
            half[k] = json_string_value(json_array_get(entry, k));
            bytes[k] = (int64_t)json_string_length(json_array_get(entry, k));
        }
        return OK;
    }
    const char *text = json_string_value(entry), *space = text ? strchr(text, ' ') : NULL;
    const int64_t length = (int64_t)json_string_length(entry);
    if (!space || memchr(space + 1, ' ', (size_t)(text + length - space - 1)))
        return fail(r->why, ERR_INPUT, "%s: model.merges: entry %zu is not two tokens", r->path, i);
    half[0] = text, bytes[0] = space - text;
    half[1] = space + 1, bytes[1] = length - bytes[0] - 1;
    return OK;
}

static status need_token(const reading *r, const char *text, int64_t bytes, size_t i, uint32_t *id)
{
    *id = find_token(r, text, bytes);
    if (*id != NO_TOKEN) return OK;
    return fail(r->why, ERR_INPUT,
                "%s: model.merges: entry %zu: there is no token \"%.*s\" in the vocabulary", r->path, i,
                (int)(bytes > 100 ? 100 : bytes), text);
}

static void put_merge(bpe *b, uint64_t pair, uint32_t rank, uint32_t id)
{
    uint64_t i = bpe_mix(pair) & b->merge_mask;
    while (b->merges[i].rank != NO_TOKEN && b->merges[i].pair != pair) i = (i + 1) & b->merge_mask;
    b->merges[i] = (merge){.pair = pair, .rank = rank, .id = id}; /* of two equal ones the last counts */
}

static status read_merge(reading *r, const json_t *entry, size_t i, uint32_t rank, text_buffer *both)
{
    const char *half[2];
    int64_t bytes[2];
    uint32_t left, right, id;
    TRY(merge_halves(r, entry, i, half, bytes));
    TRY(need_token(r, half[0], bytes[0], i, &left));
    TRY(need_token(r, half[1], bytes[1], i, &right));
    both->bytes = 0;
    text_buffer_append(both, half[0], bytes[0]);
    text_buffer_append(both, half[1], bytes[1]);
    TRY(need_token(r, both->text, both->bytes, i, &id));
    put_merge(r->b, (uint64_t)left << 32 | right, rank, id);
    return OK;
}

static bool is_version_line(const json_t *entry)
{
    const char *text = json_string_value(entry);
    return text && !strncmp(text, "#version", 8);
}

static status read_merges(reading *r)
{
    const json_t *merges;
    TRY(json_field_array(r->model, "merges", r->path, "model", &merges, r->why));
    const size_t count = json_array_size(merges);
    r->b->merge_mask = bpe_table_mask((int64_t)count);
    r->b->merges = memory_new((int64_t)r->b->merge_mask + 1, sizeof *r->b->merges, "merges");
    memset(r->b->merges, 0xff, sizeof *r->b->merges * (r->b->merge_mask + 1));
    text_buffer both = {0};
    status s = OK;
    uint32_t rank = 0;
    for (size_t i = 0; i < count && s == OK; i++)
        if (!is_version_line(json_array_get(merges, i)))
            s = read_merge(r, json_array_get(merges, i), i, rank++, &both);
    text_buffer_free(&both);
    return s;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static status check_type(const reading *r)
{
    const char *type = NULL;
    int64_t bytes;
    TRY(json_field_text(r->model, "type", r->path, "model", &type, &bytes, r->why));
    /* Old files leave the type out. */
    const bool is_bpe = type ? !strcmp(type, "BPE") : json_object_get(r->model, "merges") != NULL;
    if (is_bpe) return OK;
    return fail(r->why, ERR_INPUT, "%s: model type %.60s is not supported; supported: BPE", r->path,
                type ? type : "(none)");
}

/* Refuses options that would change the ids and that no supported model uses. */
static status check_unsupported(const reading *r)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof affixes / sizeof affixes[0]; i++) {
        const char *text = NULL;
        int64_t bytes;
        TRY(json_field_text(r->model, affixes[i], r->path, "model", &text, &bytes, r->why));
        if (text && bytes)
            return fail(r->why, ERR_INPUT, "%s: model.%s is \"%.60s\", only null is supported", r->path,
                        affixes[i], text);
    }
    const json_t *dropout = json_object_get(r->model, "dropout");
    if (dropout && !json_is_null(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return fail(r->why, ERR_INPUT, "%s: model.dropout is given, only null is supported", r->path);
    return OK;
}

static status read_all(reading *r)
{
    bpe *b = r->b;
    TRY(check_type(r));
    TRY(check_unsupported(r));
    TRY(json_field_bool(r->model, "byte_fallback", false, r->path, "model", &b->byte_fallback, r->why));
    TRY(json_field_bool(r->model, "fuse_unk", false, r->path, "model", &b->fuse_unk, r->why));
    TRY(json_field_bool(r->model, "ignore_merges", false, r->path, "model", &b->ignore_merges, r->why));
    TRY(read_vocabulary(r));
    TRY(read_unknown(r));
    index_bytes(r);
    if (b->byte_level && b->byte_fallback && !bpe_has_all_bytes(b))
        return fail(r->why, ERR_INPUT,
                    "%s: model.byte_fallback for letters that spell bytes is not supported", r->path);
    TRY(read_merges(r));
    bpe_index(b);
    return OK;
}

status bpe_read(bpe **out, const json_t *model, int64_t file_bytes, bool byte_level, const char *path,
                message *why)
{
    *out = NULL;
    bpe *b = memory_new(1, sizeof *b, "a vocabulary");
    b->byte_level = byte_level;
    reading r = {.b = b, .model = model, .file_bytes = file_bytes, .path = path, .why = why};
    const status s = read_all(&r);
    if (s == OK)
        *out = b;
    else
        bpe_free(b);
    return s;
}

void bpe_free(bpe *b)
{
    if (!b) return;
    free(b->text);
    free(b->spelled);
    free(b->raw);
    free(b->unk_missing);
    free(b->letters);
    free(b->merges);
    free(b->words);
    free(b->joins);
    free(b);
}

int64_t bpe_ids(const bpe *b) { return b->ids; }

const char *bpe_spelling(const bpe *b, int64_t id, int64_t *bytes)
{
    if (id < 0 || id >= b->ids || b->spelled[id].bytes < 0) return NULL;
    *bytes = b->spelled[id].bytes;
    return b->text + b->spelled[id].at;
}

int64_t bpe_id(const bpe *b, const char *spelled, int64_t bytes)
{
    for (int64_t id = 0; id < b->ids; id++)
        if (b->spelled[id].bytes == bytes && !memcmp(b->text + b->spelled[id].at, spelled, (size_t)bytes))
            return id;
    return -1;
}
