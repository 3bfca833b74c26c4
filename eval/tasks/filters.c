/* Filters of templates. White space is what Python's str.isspace says: a separator of the category Zs, or a
 * character of the bidirectional classes WS, B and S. */
#include "eval/tasks/filters.h"
#include "data/tokenizer/unicode.h"
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static bool is_space(uint32_t c)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    return p->category == UTF8PROC_CATEGORY_ZS || p->bidi_class == UTF8PROC_BIDI_CLASS_WS ||
           p->bidi_class == UTF8PROC_BIDI_CLASS_B || p->bidi_class == UTF8PROC_BIDI_CLASS_S;
}

int64_t filters_stripped(const char *text, int64_t bytes)
{
    while (bytes > 0) {
        int64_t last = bytes - 1;
        int n;
        while (last > 0 && (text[last] & 0xc0) == 0x80) last--;
        if (!is_space(utf8_at(text + last, &n))) break;
        bytes = last;
    }
    return bytes;
}

/* ---- each filter: text in, text out ---- */

static void set(text_buffer *text, const char *from, int64_t bytes)
{
    text_buffer out = {0};
    text_buffer_append(&out, from, bytes);
    text_buffer_free(text);
    *text = out;
}

static void strip(text_buffer *text)
{
    const int64_t end = filters_stripped(text->text, text->bytes);
    int64_t start = 0;
    for (int n; start < end && is_space(utf8_at(text->text + start, &n));) start += n;
    set(text, text->text + start, end - start);
}

static void capitalize(text_buffer *text)
{
    text_buffer out = {0};
    for (int64_t i = 0; i < text->bytes;) {
        int n;
        const utf8proc_int32_t c = (utf8proc_int32_t)utf8_at(text->text + i, &n);
        char put[4];
        text_buffer_append(&out, put,
                           utf8_put(put, (uint32_t)(i ? utf8proc_tolower(c) : utf8proc_totitle(c))));
        i += n;
    }
    text_buffer_free(text);
    *text = out;
}

static void replace(text_buffer *text, const char *from, int64_t from_bytes, const char *to, int64_t to_bytes)
{
    text_buffer a = {0}, b = {0}, out = {0};
    text_buffer_append(&a, from, from_bytes);
    text_buffer_append(&b, to, to_bytes);
    text_buffer_replace(&out, text->text, text->bytes, &a, &b, INT64_MAX);
    text_buffer_free(&a);
    text_buffer_free(&b);
    text_buffer_free(text);
    *text = out;
}

static void remove_brackets(text_buffer *text)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < text->bytes; i++) {
        const char *line = text->text + i;
        const int64_t left = text->bytes - i;
        if (*line == '[') {
            const char *newline = memchr(line, '\n', (size_t)left);
            const char *end = memchr(line, ']', (size_t)(newline ? newline - line : left));
            if (end) {
                i += end - line;
                continue;
            }
        }
        text->text[kept++] = *line;
    }
    text->bytes = kept;
}

static void clean(text_buffer *text)
{
    replace(text, " [title]", 8, ". ", 2);
    remove_brackets(text);
    replace(text, "  ", 2, " ", 1);
}

static status cut(text_buffer *text, const char *at, int64_t bytes, bool before, message *why)
{
    const char *hit = text->bytes ? memmem(text->text, (size_t)text->bytes, at, (size_t)bytes) : NULL;
    if (!hit) return fail(why, ERR_INPUT, "there is no \"%.*s\" in it", (int)bytes, at);
    if (before)
        set(text, text->text, hit - text->text);
    else
        set(text, hit + bytes, text->text + text->bytes - hit - bytes);
    return OK;
}

/* ---- chains ---- */

/* The part of [*at, end) before the next `stop`; moves *at behind it. */
static const char *part(const char **at, const char *end, char stop, int64_t *bytes)
{
    const char *from = *at, *hit = from < end ? memchr(from, stop, (size_t)(end - from)) : NULL;
    *bytes = (hit ? hit : end) - from;
    *at = hit ? hit + 1 : end;
    return from;
}

static status apply(const char *filter, int64_t length, text_buffer *text, message *why)
{
    const char *at = filter, *end = filter + length;
    int64_t name_bytes, a_bytes, b_bytes;
    const char *name = part(&at, end, ':', &name_bytes), *a = part(&at, end, ':', &a_bytes);
    const char *b = part(&at, end, ':', &b_bytes);
    char word[16];
    snprintf(word, sizeof word, "%.*s", (int)(name_bytes < 15 ? name_bytes : 15), name);
    if (!a_bytes && !strcmp(word, "strip"))
        strip(text);
    else if (!a_bytes && !strcmp(word, "capitalize"))
        capitalize(text);
    else if (!a_bytes && !strcmp(word, "clean"))
        clean(text);
    else if (a_bytes && !strcmp(word, "replace"))
        replace(text, a, a_bytes, b, b_bytes);
    else if (a_bytes && !b_bytes && (!strcmp(word, "before") || !strcmp(word, "after")))
        return cut(text, a, a_bytes, word[0] == 'b', why);
    else
        return fail(why, ERR_INPUT,
                    "there is no filter \"%.*s\"; there are strip, capitalize, clean, replace:A:B, before:A "
                    "and after:A",
                    (int)(length < 100 ? length : 100), filter);
    return OK;
}

status filters_apply(const char *chain, int64_t length, text_buffer *text, message *why)
{
    text_buffer_reserve(text, 0);
    for (const char *at = chain, *end = chain + length; at < end;) {
        int64_t bytes;
        const char *filter = part(&at, end, '|', &bytes);
        TRY(apply(filter, bytes, text, why));
    }
    return OK;
}
