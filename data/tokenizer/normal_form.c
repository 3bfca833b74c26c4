/* Unicode's normal forms, fast for text that is normal already, which most is:
 *
 *     plain words, then  e + accent | more plain words
 *     |------ copied ----| normalized | -- copied --
 *
 * ASCII is normal, and no change reaches across an ASCII character. So only runs of other characters are
 * looked at, each with the ASCII character before it (an accent may combine with that), and only runs that
 * hold a character which can change are normalized. utf8proc decomposes and composes; marks are sorted here,
 * because utf8proc's insertion sort would take quadratic time for a text of only marks. */
#include "data/tokenizer/normal_form.h"
#include "base/array.h"
#include "base/memory.h"
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/unicode.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* U+FDFA becomes 18 characters; no character becomes more. */
enum { MOST_OF_ONE = 18 };

typedef struct mark {
    utf8proc_int32_t c;
    int32_t class; /* combining class; 0 does not move */
    int64_t place;
} mark;

const char *normal_form_name(normal_form form)
{
    static const char *const names[] = {"NFC", "NFD", "NFKC", "NFKD"};
    return names[form];
}

static bool composes(normal_form form) { return form == NFC || form == NFKC; }

static utf8proc_option_t options_of(normal_form form)
{
    const int compatible = form == NFKC || form == NFKD ? UTF8PROC_COMPAT : 0;
    return (utf8proc_option_t)(UTF8PROC_STABLE | compatible |
                               (composes(form) ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE));
}

/* Tells whether this character changes neither itself nor any before it. May answer false for a stable one.
 */
static bool is_stable(normal_form form, uint32_t c)
{
    if (c < 0x300 && form == NFC) return true;
    if (c >= 0x1100 && c <= 0x11ff) return false; /* Jamo compose by a rule */
    if (c >= 0xac00 && c <= 0xd7a3) return composes(form);
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    return !p->combining_class && p->decomp_seqindex == UINT16_MAX && p->comb_index == UINT16_MAX;
}

static int by_class(const void *a, const void *b)
{
    const mark *x = a, *y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* Sorts the marks behind each character by class; equal classes keep their order. */
static void order_marks(mark *m, int64_t count)
{
    for (int64_t i = 0, end; i < count; i = end + 1) {
        bool ordered = true;
        for (end = i; end < count && m[end].class; end++)
            ordered = ordered && (end == i || m[end - 1].class <= m[end].class);
        if (!ordered) qsort(m + i, (size_t)(end - i), sizeof *m, by_class);
    }
}

/* Normalizes a text without inert characters. */
static void append_span(normal_form form, const char *text, int64_t bytes, text_buffer *out)
{
    const utf8proc_option_t options = options_of(form);
    mark *m = NULL;
    int64_t count = 0, capacity = 0;
    int length, boundary = UTF8PROC_BOUNDCLASS_START;
    for (int64_t i = 0; i < bytes; i += length) {
        utf8proc_int32_t parts[MOST_OF_ONE];
        const utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)utf8_at(text + i, &length),
                                                           parts, MOST_OF_ONE, options, &boundary);
        REQUIRE(n >= 0 && n <= MOST_OF_ONE, "a character of %zd parts", (ssize_t)n);
        m = array_reserve(m, &capacity, count + n, sizeof *m);
        for (utf8proc_ssize_t k = 0; k < n; k++, count++)
            m[count] = (mark){
                .c = parts[k], .class = utf8proc_get_property(parts[k])->combining_class, .place = count};
    }
    order_marks(m, count);
    utf8proc_int32_t *c = memory_new(count + 1, sizeof *c, "a text");
    for (int64_t i = 0; i < count; i++) c[i] = m[i].c;
    count = utf8proc_normalize_utf32(c, count, options);
    char *to = text_buffer_reserve(out, 4 * count);
    for (int64_t i = 0; i < count; i++) to += utf8_put(to, (uint32_t)c[i]);
    out->bytes = to - out->text;
    free(c);
    free(m);
}

/* Normalizes a text. Inert characters are copied, and separate the spans around them. */
static void append_parts(normal_form form, const char *text, int64_t bytes, text_buffer *out)
{
    int64_t begin = 0;
    int length;
    for (int64_t i = 0; i < bytes; i += length) {
        if (!unicode_is_inert(utf8_at(text + i, &length))) continue;
        append_span(form, text + begin, i - begin, out);
        text_buffer_append(out, text + i, length);
        begin = i + length;
    }
    append_span(form, text + begin, bytes - begin, out);
}

static int64_t ascii_end(const char *text, int64_t i, int64_t bytes)
{
    uint64_t eight;
    while (i + 8 <= bytes && (memcpy(&eight, text + i, 8), !(eight & UINT64_C(0x8080808080808080)))) i += 8;
    while (i < bytes && !(text[i] & 0x80)) i++;
    return i;
}

void normal_form_append(normal_form form, const char *text, int64_t bytes, text_buffer *out)
{
    for (int64_t i = 0, other, end; i < bytes; i = end) {
        int length;
        bool stable = true;
        other = ascii_end(text, i, bytes);
        for (end = other; end < bytes && text[end] & 0x80; end += length)
            stable = is_stable(form, utf8_at(text + end, &length)) && stable;
        const int64_t begin = stable ? end : other > i ? other - 1 : other;
        text_buffer_append(out, text + i, begin - i);
        if (!stable) append_parts(form, text + begin, end - begin, out);
    }
}
