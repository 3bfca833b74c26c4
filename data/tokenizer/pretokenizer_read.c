/* Reads a pre-tokenizer as a flat list of stages: Sequences are flattened, and every kind becomes splits by a
 * pattern and changes of the text. ByteLevel is a prefix space and GPT-2's expression, Digits a split by
 * numbers, Metaspace a replacement of spaces and a split before each. */
#include "base/memory.h"
#include "data/tokenizer/pretokenizer_stages.h"
#include "base/array.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/json_fields.h"
#include "data/tokenizer/unicode.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ByteLevel's own expression, GPT-2's. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* Digits uses Rust's notion of a number, of Unicode 17; expressions are of Unicode 16. */
#define NUMBER "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]"

/* Stages nest when they run: their number bounds the depth. With splits between them, each Metaspace can make
 * the text five times as long. */
enum { MAX_STAGES = 64, MAX_METASPACES = 2 };

static const char where[] = "pre_tokenizer";

static stage *add_stage(pretokenizer *p, stage_kind kind)
{
    p->stage = array_reserve(p->stage, &p->capacity, p->count + 1, sizeof *p->stage);
    stage *s = &p->stage[p->count++];
    *s = (stage){.kind = kind};
    return s;
}

static status add_split(pretokenizer *p, const char *text, int64_t bytes, bool literal,
                        split_behavior behavior, const char *path, message *why)
{
    char place[64 + 1024];
    snprintf(place, sizeof place, "%.1000s: %s", path, where);
    stage *s = add_stage(p, SPLIT);
    s->behavior = behavior;
    return pattern_compile(&s->pattern, text, bytes, literal, place, why);
}

static status read_behavior(const json_t *value, split_behavior *behavior, const char *path, message *why)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const char *name = "(none)";
    int64_t bytes;
    *behavior = REMOVED;
    TRY(json_field_text(value, "behavior", path, where, &name, &bytes, why));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i])) return *behavior = (split_behavior)i, OK;
    return fail(why, ERR_INPUT, "%s: %s.behavior %.60s is not supported", path, where, name);
}

static status read_split(pretokenizer *p, const json_t *value, const char *path, message *why)
{
    const json_t *what;
    const char *text = NULL;
    int64_t bytes = 0;
    split_behavior behavior;
    bool invert;
    TRY(json_field_object(value, "pattern", path, where, &what, why));
    const bool literal = json_object_get(what, "String") != NULL;
    TRY(json_field_text(what, literal ? "String" : "Regex", path, "pre_tokenizer.pattern", &text, &bytes,
                        why));
    if (!bytes) return fail(why, ERR_INPUT, "%s: the pattern of a Split is missing or empty", path);
    TRY(read_behavior(value, &behavior, path, why));
    TRY(json_field_bool(value, "invert", false, path, where, &invert, why));
    TRY(add_split(p, text, bytes, literal, behavior, path, why));
    p->stage[p->count - 1].invert = invert;
    return OK;
}

static status read_digits(pretokenizer *p, const json_t *value, const char *path, message *why)
{
    bool individual;
    TRY(json_field_bool(value, "individual_digits", false, path, where, &individual, why));
    return add_split(p, NUMBER, sizeof NUMBER - 1, false, individual ? ISOLATED : CONTIGUOUS, path, why);
}

static status read_byte_level(pretokenizer *p, const json_t *value, const char *path, message *why)
{
    bool prefix_space, use_regex;
    TRY(json_field_bool(value, "add_prefix_space", true, path, where, &prefix_space, why));
    TRY(json_field_bool(value, "use_regex", true, path, where, &use_regex, why));
    if (prefix_space) add_stage(p, PREFIX_SPACE);
    if (use_regex) TRY(add_split(p, GPT2, sizeof GPT2 - 1, false, ISOLATED, path, why));
    p->byte_level = true;
    return OK;
}

static status read_scheme(const json_t *value, prepend_scheme *scheme, const char *path, message *why)
{
    static const char *const names[] = {"always", "never", "first"};
    const char *name = names[ALWAYS];
    int64_t bytes;
    bool prefix_space; /* the key of older files */
    *scheme = ALWAYS;
    TRY(json_field_text(value, "prepend_scheme", path, where, &name, &bytes, why));
    TRY(json_field_bool(value, "add_prefix_space", true, path, where, &prefix_space, why));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i])) {
            *scheme = (prepend_scheme)i;
            if (prefix_space || *scheme == NEVER) return OK;
            return fail(why, ERR_INPUT, "%s: %s: add_prefix_space is false, but prepend_scheme is %s", path,
                        where, name);
        }
    return fail(why, ERR_INPUT, "%s: %s.prepend_scheme %.60s is not supported", path, where, name);
}

static status read_metaspace(pretokenizer *p, const json_t *value, const char *path, message *why)
{
    const char *space = NULL;
    int64_t bytes = 0;
    prepend_scheme scheme;
    bool split;
    TRY(json_field_text(value, "replacement", path, where, &space, &bytes, why));
    if (!bytes || utf8_bytes(space[0]) != bytes)
        return fail(why, ERR_INPUT, "%s: %s.replacement is not one character", path, where);
    TRY(read_scheme(value, &scheme, path, why));
    TRY(json_field_bool(value, "split", true, path, where, &split, why));
    int metaspaces = 1;
    for (int64_t i = 0; i < p->count; i++) metaspaces += p->stage[i].kind == METASPACE;
    if (metaspaces > MAX_METASPACES)
        return fail(why, ERR_INPUT, "%s: %s has more than %d Metaspace stages", path, where, MAX_METASPACES);
    stage *s = add_stage(p, METASPACE);
    s->prepend = scheme;
    text_buffer_append(&s->space, space, bytes);
    return split ? add_split(p, space, bytes, true, MERGED_WITH_NEXT, path, why) : OK;
}

static status read_value(pretokenizer *p, const json_t *value, const char *path, message *why);

static status read_sequence(pretokenizer *p, const json_t *value, const char *path, message *why)
{
    const json_t *list, *entry;
    size_t i;
    TRY(json_field_array(value, "pretokenizers", path, where, &list, why));
    json_array_foreach((json_t *)list, i, entry) TRY(read_value(p, entry, path, why));
    return OK;
}

static status read_value(pretokenizer *p, const json_t *value, const char *path, message *why)
{
    static const struct {
        const char *type;
        status (*read)(pretokenizer *p, const json_t *value, const char *path, message *why);
    } kinds[] = {{"ByteLevel", read_byte_level},
                 {"Split", read_split},
                 {"Digits", read_digits},
                 {"Metaspace", read_metaspace},
                 {"Sequence", read_sequence}};
    const char *type = "(none)";
    int64_t bytes;
    TRY(json_field_text(value, "type", path, where, &type, &bytes, why));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) != 0) continue;
        if (p->byte_level)
            return fail(why, ERR_INPUT, "%s: %s %s behind ByteLevel is not supported", path, where, type);
        TRY(kinds[i].read(p, value, path, why));
        if (p->count <= MAX_STAGES) return OK;
        return fail(why, ERR_INPUT, "%s: %s has more than %d stages", path, where, MAX_STAGES);
    }
    return fail(why, ERR_INPUT,
                "%s: %s %.60s is not supported; supported: ByteLevel, Split, Digits, Metaspace, Sequence",
                path, where, type);
}

status pretokenizer_read(pretokenizer **out, const json_t *value, const char *path, message *why)
{
    *out = NULL;
    pretokenizer *p = memory_new(1, sizeof *p, "a pre-tokenizer");
    const status s = !value || json_is_null(value) ? OK : read_value(p, value, path, why);
    if (s == OK)
        *out = p;
    else
        pretokenizer_free(p);
    return s;
}

void pretokenizer_free(pretokenizer *p)
{
    if (!p) return;
    for (int64_t i = 0; i < p->count; i++) {
        pattern_free(p->stage[i].pattern);
        text_buffer_free(&p->stage[i].space);
    }
    free(p->stage);
    free(p);
}

bool pretokenizer_is_byte_level(const pretokenizer *p) { return p->byte_level; }
