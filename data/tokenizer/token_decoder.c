/* A decoder is a list of steps over pieces, at first one for each token. Each step makes new pieces of the
 * pieces before it, and may join them; the last pieces behind one another are the text. Bytes that are not
 * UTF-8 become U+FFFD in the way of the library: by ByteLevel one for each broken character, by ByteFallback
 * one for each byte. */
#include "data/tokenizer/token_decoder.h"
#include "base/array.h"
#include "base/memory.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/json_fields.h"
#include "data/tokenizer/unicode.h"
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef enum step_kind { BYTE_LEVEL, BYTE_FALLBACK, FUSE, METASPACE, REPLACE, STRIP } step_kind;

typedef struct step {
    step_kind kind;
    text_buffer from, to; /* REPLACE; METASPACE: from the space's character; STRIP: from the character */
    int64_t start, stop;  /* STRIP: at most so many at the start and at the end */
    bool prepended;       /* METASPACE: the first piece begins with a space that was put there */
} step;

struct token_decoder {
    char *path; /* of the file, for messages */
    step *step;
    int64_t count, capacity;
    bool joins_with_spaces; /* there is no decoder */
};

/* ---- reading ------------------------------------------------------------------------------------------- */

static step *add_step(token_decoder *d, step_kind kind)
{
    d->step = array_reserve(d->step, &d->capacity, d->count + 1, sizeof *d->step);
    step *s = &d->step[d->count++];
    *s = (step){.kind = kind};
    return s;
}

/* Reads a key whose value is one character. */
static status read_character(const json_t *value, const char *key, text_buffer *to, const char *path,
                             message *why)
{
    const char *text = NULL;
    int64_t bytes = 0;
    TRY(json_field_text(value, key, path, "decoder", &text, &bytes, why));
    if (!bytes || utf8_bytes(text[0]) != bytes)
        return fail(why, ERR_INPUT, "%s: decoder.%s is not one character", path, key);
    text_buffer_append(to, text, bytes);
    return OK;
}

static status read_metaspace(token_decoder *d, const json_t *value, const char *path, message *why)
{
    const char *scheme = "always";
    int64_t bytes;
    bool prefix_space;
    step *s = add_step(d, METASPACE);
    TRY(read_character(value, "replacement", &s->from, path, why));
    TRY(json_field_text(value, "prepend_scheme", path, "decoder", &scheme, &bytes, why));
    TRY(json_field_bool(value, "add_prefix_space", true, path, "decoder", &prefix_space, why));
    s->prepended = prefix_space && strcmp(scheme, "never") != 0;
    return OK;
}

static status read_replace(token_decoder *d, const json_t *value, const char *path, message *why)
{
    step *s = add_step(d, REPLACE);
    return json_field_replace(value, path, "decoder", &s->from, &s->to, why);
}

static status read_strip(token_decoder *d, const json_t *value, const char *path, message *why)
{
    step *s = add_step(d, STRIP);
    TRY(read_character(value, "content", &s->from, path, why));
    TRY(json_field_count(value, "start", INT32_MAX, path, "decoder", &s->start, why));
    return json_field_count(value, "stop", INT32_MAX, path, "decoder", &s->stop, why);
}

static status read_value(token_decoder *d, const json_t *value, const char *path, message *why);

static status read_sequence(token_decoder *d, const json_t *value, const char *path, message *why)
{
    const json_t *list, *entry;
    size_t i;
    TRY(json_field_array(value, "decoders", path, "decoder", &list, why));
    json_array_foreach((json_t *)list, i, entry) TRY(read_value(d, entry, path, why));
    return OK;
}

static status read_value(token_decoder *d, const json_t *value, const char *path, message *why)
{
    const char *type = "(none)";
    int64_t bytes;
    TRY(json_field_text(value, "type", path, "decoder", &type, &bytes, why));
    if (!strcmp(type, "ByteLevel")) return add_step(d, BYTE_LEVEL), OK;
    if (!strcmp(type, "ByteFallback")) return add_step(d, BYTE_FALLBACK), OK;
    if (!strcmp(type, "Fuse")) return add_step(d, FUSE), OK;
    if (!strcmp(type, "Metaspace")) return read_metaspace(d, value, path, why);
    if (!strcmp(type, "Replace")) return read_replace(d, value, path, why);
    if (!strcmp(type, "Strip")) return read_strip(d, value, path, why);
    if (!strcmp(type, "Sequence")) return read_sequence(d, value, path, why);
    return fail(why, ERR_INPUT,
                "%s: decoder %.60s is not supported; supported: ByteLevel, ByteFallback, Fuse, Metaspace, "
                "Replace, Strip, "
                "Sequence",
                path, type);
}

status token_decoder_read(token_decoder **out, const json_t *value, const char *path, message *why)
{
    *out = NULL;
    token_decoder *d = memory_new(1, sizeof *d, "a decoder");
    d->path = memory_check(strdup(path), "the name of %s", path);
    d->joins_with_spaces = !value || json_is_null(value);
    const status s = d->joins_with_spaces ? OK : read_value(d, value, path, why);
    if (s == OK)
        *out = d;
    else
        token_decoder_free(d);
    return s;
}

void token_decoder_free(token_decoder *d)
{
    if (!d) return;
    for (int64_t i = 0; i < d->count; i++) {
        text_buffer_free(&d->step[i].from);
        text_buffer_free(&d->step[i].to);
    }
    free(d->step);
    free(d->path);
    free(d);
}

/* ---- pieces -------------------------------------------------------------------------------------------- */

static void end_piece(pieces *p)
{
    p->end = array_reserve(p->end, &p->capacity, p->count + 1, sizeof *p->end);
    p->end[p->count++] = p->text.bytes;
}

void pieces_add(pieces *p, const char *text, int64_t bytes)
{
    text_buffer_append(&p->text, text, bytes);
    end_piece(p);
}

void pieces_free(pieces *p)
{
    text_buffer_free(&p->text);
    free(p->end);
    *p = (pieces){0};
}

static const char *piece_at(const pieces *p, int64_t i, int64_t *bytes)
{
    const int64_t begin = i ? p->end[i - 1] : 0;
    *bytes = p->end[i] - begin;
    return p->text.text ? p->text.text + begin : "";
}

/* ---- steps --------------------------------------------------------------------------------------------- */

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Counts the bytes that begin a character which is then cut short or wrong. Together they become one U+FFFD,
 * as Unicode recommends. */
static int64_t broken_bytes(const char *text, int64_t bytes)
{
    int64_t n = 1;
    while (n < bytes && n < 4) {
        /* n+1 bytes begin some character if continuation bytes complete them to a valid one. */
        char whole[4] = {'\x80', '\x80', '\x80', '\x80'};
        memcpy(whole, text, (size_t)n + 1);
        const int length = utf8_bytes(whole[0]);
        if (length <= n || utf8_check(whole, length) >= 0) break;
        n++;
    }
    return n;
}

static void append_lossy(text_buffer *out, const char *text, int64_t bytes)
{
    while (bytes > 0) {
        const int64_t bad = utf8_check(text, bytes), good = bad < 0 ? bytes : bad;
        text_buffer_append(out, text, good);
        if (bad < 0) return;
        text_buffer_append(out, REPLACEMENT, 3);
        const int64_t skipped = good + broken_bytes(text + good, bytes - good);
        text += skipped, bytes -= skipped;
    }
}

/* Turns tokens in GPT-2's alphabet into bytes; others are copied. */
static void run_byte_level(const pieces *in, pieces *out)
{
    text_buffer raw = {0};
    for (int64_t i = 0; i < in->count; i++) {
        int64_t bytes;
        const char *text = piece_at(in, i, &bytes);
        char *to = text_buffer_reserve(&raw, bytes);
        const int64_t spelled = byte_alphabet_bytes(to, text, bytes);
        if (spelled < 0)
            text_buffer_append(&raw, text, bytes);
        else
            raw.bytes += spelled;
    }
    append_lossy(&out->text, raw.text, raw.bytes);
    end_piece(out);
    text_buffer_free(&raw);
}

/* Returns the byte of a token like <0x0A>, or -1. As in the library, the number may have a sign. */
static int fallback_byte(const char *text, int64_t bytes)
{
    if (bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    char number[3] = {text[3] == '+' ? '0' : text[3], text[4], 0};
    if (!isxdigit((unsigned char)number[0]) || !isxdigit((unsigned char)number[1])) return -1;
    return (int)strtol(number, NULL, 16);
}

static void end_bytes(text_buffer *raw, pieces *out)
{
    if (!raw->bytes) return;
    if (utf8_check(raw->text, raw->bytes) < 0)
        pieces_add(out, raw->text, raw->bytes);
    else
        for (int64_t i = 0; i < raw->bytes; i++) pieces_add(out, REPLACEMENT, 3);
    raw->bytes = 0;
}

static void run_byte_fallback(const pieces *in, pieces *out)
{
    text_buffer raw = {0};
    for (int64_t i = 0; i < in->count; i++) {
        int64_t bytes;
        const char *text = piece_at(in, i, &bytes);
        const int byte = fallback_byte(text, bytes);
        if (byte >= 0) {
            text_buffer_append(&raw, (const char[]){(char)byte}, 1);
        } else {
            end_bytes(&raw, out);
            pieces_add(out, text, bytes);
        }
    }
    end_bytes(&raw, out);
    text_buffer_free(&raw);
}

static bool begins_with(const char *text, int64_t bytes, const text_buffer *what)
{
    return bytes >= what->bytes && !memcmp(text, what->text, (size_t)what->bytes);
}

static void run_strip(const step *s, const pieces *in, pieces *out)
{
    for (int64_t i = 0; i < in->count; i++) {
        int64_t bytes;
        const char *text = piece_at(in, i, &bytes), *end = text + bytes;
        for (int64_t n = 0; n < s->start && begins_with(text, end - text, &s->from); n++)
            text += s->from.bytes;
        for (int64_t n = 0; n < s->stop && end - text >= s->from.bytes &&
                            begins_with(end - s->from.bytes, s->from.bytes, &s->from);
             n++)
            end -= s->from.bytes;
        pieces_add(out, text, end - text);
    }
}

static bool run_replace(const step *s, const pieces *in, pieces *out, int64_t most)
{
    const text_buffer space = {.text = (char[]){' '}, .bytes = 1}, nothing = {0};
    for (int64_t i = 0; i < in->count; i++) {
        int64_t bytes;
        const char *text = piece_at(in, i, &bytes);
        const text_buffer *to = s->kind == REPLACE ? &s->to : i == 0 && s->prepended ? &nothing : &space;
        if (!text_buffer_replace(&out->text, text, bytes, &s->from, to, most)) return false;
        end_piece(out);
    }
    return true;
}

/* Runs one step; false if the text has more than `most` bytes then. */
static bool run_step(const step *s, const pieces *in, pieces *out, int64_t most)
{
    switch (s->kind) {
    case BYTE_LEVEL:
        run_byte_level(in, out);
        break;
    case BYTE_FALLBACK:
        run_byte_fallback(in, out);
        break;
    case FUSE:
        pieces_add(out, in->text.text, in->text.bytes);
        break;
    case METASPACE:
    case REPLACE:
        return run_replace(s, in, out, most);
    case STRIP:
        run_strip(s, in, out);
        break;
    }
    return out->text.bytes <= most;
}

status token_decoder_run(const token_decoder *d, pieces *tokens, text_buffer *out, message *why)
{
    const int64_t source = tokens->text.bytes, most = text_buffer_growth_limit(source);
    bool fits = true;
    if (d->joins_with_spaces) {
        for (int64_t i = 0; i < tokens->count; i++) {
            int64_t bytes;
            const char *text = piece_at(tokens, i, &bytes);
            if (i) text_buffer_append(out, " ", 1);
            text_buffer_append(out, text, bytes);
        }
        return OK;
    }
    for (int64_t i = 0; i < d->count && fits; i++) {
        pieces next = {0};
        fits = run_step(&d->step[i], tokens, &next, most);
        pieces_free(tokens);
        *tokens = next;
    }
    if (!fits)
        return fail(why, ERR_INPUT,
                    "%s: its decoder makes more than %lld bytes of tokens of %lld: that a text grows more "
                    "than %d-fold is not supported",
                    d->path, (long long)most, (long long)source, TEXT_GROWTH);
    text_buffer_append(out, tokens->text.text, tokens->text.bytes);
    return OK;
}
