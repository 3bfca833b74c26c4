/* UTF-8 and the classes of characters. The tables in unicode.def are sorted ranges, searched by bisection. */
#include "data/tokenizer/unicode.h"
#include <string.h>
#include <utf8proc.h>

typedef struct range {
    uint32_t first, last, twin;
} range;

static const range twins[] = {
#define TWIN(first, last, twin) {first, last, twin},
#define INERT(first, last)
#include "data/tokenizer/unicode.def"
#undef TWIN
#undef INERT
};

static const range inert[] = {
#define TWIN(first, last, twin)
#define INERT(first, last) {first, last, 0},
#include "data/tokenizer/unicode.def"
#undef TWIN
#undef INERT
};

enum { NUM_TWINS = sizeof twins / sizeof twins[0], NUM_INERT = sizeof inert / sizeof inert[0] };

static const range *find(const range *table, int count, uint32_t c)
{
    int low = 0, high = count; /* the first range that ends at c or behind it lies in [low, high] */
    while (low < high) {
        const int middle = (low + high) / 2;
        if (table[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && table[low].first <= c ? &table[low] : NULL;
}

/* ---- UTF-8 --------------------------------------------------------------------------------------------- */

int64_t utf8_length(const char *text, int64_t bytes)
{
    int64_t count = 0;
    for (int64_t i = 0; i < bytes; i++) count += ((uint8_t)text[i] & 0xc0) != 0x80;
    return count;
}

static bool continues(const uint8_t *p, int count)
{
    for (int i = 1; i <= count; i++)
        if ((p[i] & 0xc0) != 0x80) return false;
    return true;
}

/* Returns the bytes of the character at p; 0 when it is invalid: overlong, a surrogate, beyond U+10FFFF, cut.
 */
static int character(const uint8_t *p, int64_t left)
{
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    const int bytes = utf8_bytes((char)p[0]);
    if (bytes > left || !continues(p, bytes - 1)) return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0;
    return bytes;
}

int64_t utf8_check(const char *text, int64_t bytes)
{
    const uint8_t *p = (const uint8_t *)text;
    int64_t i = 0;
    while (i < bytes) {
        uint64_t eight;
        while (i + 8 <= bytes && (memcpy(&eight, p + i, 8), !(eight & UINT64_C(0x8080808080808080)))) i += 8;
        if (i == bytes) break;
        const int length = character(p + i, bytes - i);
        if (!length) return i;
        i += length;
    }
    return -1;
}

int utf8_put(char *out, uint32_t c)
{
    return (int)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

/* ---- twins --------------------------------------------------------------------------------------------- */

/* Quickly excludes most characters: twins begin at U+0897, and few blocks of three-byte characters have any.
 */
static bool may_have_twin(uint32_t c)
{
    if (c >= 0x10000) return true;
    const uint32_t block = c >> 8;
    return block == 0x08 || block == 0x0c || block == 0x0e || (block >= 0x1b && block <= 0x1c) ||
           block == 0x24 || block == 0x2f || block == 0x31 || block == 0xa7;
}

uint32_t unicode_twin(uint32_t c)
{
    if (!may_have_twin(c)) return 0;
    const range *r = find(twins, NUM_TWINS, c);
    return r ? r->twin : 0;
}

/* Returns the next place, from `i` on, of a character with a twin, or `bytes`. */
static int64_t next_twin(const char *text, int64_t i, int64_t bytes, uint32_t *twin)
{
    int length;
    for (; i < bytes; i += length) {
        length = utf8_bytes(text[i]);
        if (length < 3) continue;
        const uint32_t c = utf8_at(text + i, &length);
        if ((*twin = unicode_twin(c))) return i;
    }
    return bytes;
}

bool unicode_has_twins(const char *text, int64_t bytes)
{
    uint32_t twin;
    return next_twin(text, 0, bytes, &twin) < bytes;
}

void unicode_put_twins(char *text, int64_t bytes)
{
    uint32_t twin;
    for (int64_t i = 0; (i = next_twin(text, i, bytes, &twin)) < bytes;) i += utf8_put(text + i, twin);
}

/* ---- classes ------------------------------------------------------------------------------------------- */

bool unicode_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

/* Circled and squared letters are symbols that Unicode calls alphabetic. */
static bool is_letter_symbol(uint32_t c)
{
    return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
           (c >= 0x1f170 && c <= 0x1f189);
}

bool unicode_is_word(uint32_t c)
{
    const uint32_t twin = unicode_twin(c);
    switch (utf8proc_category((utf8proc_int32_t)(twin ? twin : c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return c == 0x200c || c == 0x200d || is_letter_symbol(c);
    }
}

bool unicode_is_inert(uint32_t c) { return c >= 0x300 && (unicode_twin(c) || find(inert, NUM_INERT, c)); }
