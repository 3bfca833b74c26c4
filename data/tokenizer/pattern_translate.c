/* Translates a regular expression in one walk. Outside of sets there are groups, quantifiers and escapes;
 * inside of sets only characters, ranges and escapes. The rule is a white list: syntax that both libraries
 * interpret alike is copied, a few escapes are spelled differently, and everything else is refused with its
 * place:
 *
 *     \s        ->  [\t-\r\x{20}\x{85}...]    spelled out, since PCRE2 counts U+180E as a space
 *     \u00e9    ->  \x{00e9}
 *     \p{Han}   ->  \p{sc:Han}                the script, without its extensions
 *     \w, [a[b]], back references, (*VERB)    refused */
#include "data/tokenizer/pattern_translate.h"
#include "data/tokenizer/text_buffer.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXPRESSION = 1 << 16 };

typedef struct walk {
    const char *text, *at, *end;
    const char *where;
    text_buffer out;
    bool in_set;
    bool classes; /* the expression depends on general categories */
    message *why;
} walk;

static status unsupported(const walk *w, const char *what, int bytes)
{
    return fail(w->why, ERR_INPUT,
                "%s: \"%.*s\" in the regular expression \"%.200s\" is not supported (at byte %lld)", w->where,
                bytes, what, w->text, (long long)(what - w->text));
}

static int left(const walk *w) { return (int)(w->end - w->at); }

static bool follows(const walk *w, const char *text)
{
    return left(w) >= (int)strlen(text) && !memcmp(w->at, text, strlen(text));
}

static void copy(walk *w, int bytes)
{
    text_buffer_append(&w->out, w->at, bytes);
    w->at += bytes;
}

/* ---- escapes ------------------------------------------------------------------------------------------- */

/* General categories, and the one script that twins (data/tokenizer/unicode.h) preserve. */
static const char *const properties[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
                                         "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
                                         "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Han"};

/* \p{NAME}, \P{NAME}, \p{^NAME} */
static status property(walk *w)
{
    const char *begin = w->at, *close = memchr(begin, '}', (size_t)left(w));
    if (left(w) < 4 || begin[2] != '{' || !close) return unsupported(w, begin, 2);
    const char *name = begin + 3;
    const bool negated = *name == '^';
    name += negated;
    const size_t length = (size_t)(close - name);
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        if (strlen(properties[i]) == length && !memcmp(properties[i], name, length)) {
            text_buffer_append(&w->out, begin, name - begin);
            /* PCRE2 takes \p{Han} for the extensions of the script. */
            if (!strcmp(properties[i], "Han")) text_buffer_append(&w->out, "sc:", 3);
            text_buffer_append(&w->out, name, close + 1 - name);
            w->at = close + 1;
            w->classes = true;
            return OK;
        }
    return unsupported(w, begin, close + 1 - begin > 40 ? 40 : (int)(close + 1 - begin));
}

static int hexadecimal(const char *text, const char *end, int most)
{
    int n = 0;
    while (n < most && text + n < end && isxdigit((unsigned char)text[n])) n++;
    return n;
}

/* \uXXXX and \x{X...} */
static status code_point(walk *w)
{
    const bool braces = w->at[1] == 'x';
    const char *digits = w->at + 2 + braces;
    if (braces && (left(w) < 3 || w->at[2] != '{')) return unsupported(w, w->at, 2);
    const int n = hexadecimal(digits, w->end, braces ? 6 : 4);
    if (braces ? n == 0 || digits + n == w->end || digits[n] != '}' : n != 4) return unsupported(w, w->at, 2);
    text_buffer_append(&w->out, "\\x{", 3);
    text_buffer_append(&w->out, digits, n);
    text_buffer_append(&w->out, "}", 1);
    w->at = digits + n + braces;
    return OK;
}

/* Spells out \s and \S: for PCRE2 U+180E is a space, in Unicode it is no longer one. */
static status space(walk *w, bool negated)
{
    static const char spaces[] =
        "\\t-\\r\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
        "\\x{205f}\\x{3000}";
    if (!w->in_set) text_buffer_append(&w->out, "[^", negated ? 2 : 1);
    text_buffer_append(&w->out, spaces, sizeof spaces - 1);
    if (!w->in_set) text_buffer_append(&w->out, "]", 1);
    w->at += 2;
    return OK;
}

static status escape(walk *w)
{
    if (left(w) < 2) return unsupported(w, w->at, 1);
    const char c = w->at[1];
    if (c == 'p' || c == 'P') return property(w);
    if (c == 'u' || c == 'x') return code_point(w);
    if (c == 's' || (c == 'S' && !w->in_set)) return space(w, c == 'S');
    if (!strchr("nrtfaedD", c) && !ispunct((unsigned char)c) && c != ' ') return unsupported(w, w->at, 2);
    w->classes = w->classes || c == 'd' || c == 'D';
    copy(w, 2);
    return OK;
}

/* ---- sets ---------------------------------------------------------------------------------------------- */

static status set(walk *w)
{
    const char *begin = w->at;
    w->in_set = true;
    copy(w, follows(w, "[^") ? 2 : 1);
    if (follows(w, "]")) return unsupported(w, begin, (int)(w->at + 1 - begin));
    while (left(w) && *w->at != ']') {
        if (*w->at == '\\') {
            TRY(escape(w));
        } else if (*w->at == '[' || follows(w, "&&")) {
            return unsupported(w, w->at, *w->at == '[' ? 1 : 2);
        } else {
            copy(w, 1);
        }
    }
    if (!left(w)) return unsupported(w, begin, 1);
    copy(w, 1);
    w->in_set = false;
    return OK;
}

/* ---- groups and quantifiers ---------------------------------------------------------------------------- */

/* (?i:...): letters, apostrophes and | only, and none of the pairs that fold into one character, like ss. */
static status caseless_group(walk *w)
{
    static const char *const pairs[] = {"ss", "ff", "fi", "fl", "st"};
    const char *begin = w->at, *close = memchr(begin, ')', (size_t)left(w));
    copy(w, 4);
    while (close && w->at < close) {
        const bool plain = isalpha((unsigned char)*w->at) || *w->at == '\'' || *w->at == '|';
        if (!plain) return unsupported(w, begin, (int)(w->at + 1 - begin));
        for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
            if (!strncasecmp(w->at, pairs[i], 2)) return unsupported(w, begin, (int)(w->at + 2 - begin));
        copy(w, 1);
    }
    return close ? OK : unsupported(w, begin, 4);
}

static status group(walk *w)
{
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    /* PCRE2's verbs, like (*ACCEPT), and its settings, like (*LIMIT_MATCH=9). */
    if (follows(w, "(*")) return unsupported(w, w->at, left(w) < 12 ? left(w) : 12);
    if (!follows(w, "(?")) return copy(w, 1), OK;
    if (follows(w, "(?i:")) return caseless_group(w);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (follows(w, kinds[i])) return copy(w, (int)strlen(kinds[i])), OK;
    return unsupported(w, w->at, left(w) < 4 ? left(w) : 4);
}

/* {n}, {n,} or {n,m}; only a lazy {n,m}? may follow, the other signs mean something else in Ruby. */
static status interval(walk *w)
{
    const char *begin = w->at, *p = begin + 1;
    while (p < w->end && isdigit((unsigned char)*p)) p++;
    const bool digits = p > begin + 1, exact = p < w->end && *p == '}';
    if (p < w->end && *p == ',') p++;
    while (p < w->end && isdigit((unsigned char)*p)) p++;
    if (!digits || p == w->end || *p != '}' || p - begin > 16) return unsupported(w, begin, 1);
    const bool next = p + 1 < w->end;
    if (next && (p[1] == '+' || (p[1] == '?' && exact))) return unsupported(w, begin, (int)(p + 2 - begin));
    copy(w, (int)(p + 1 - begin));
    return OK;
}

static status step(walk *w)
{
    switch (*w->at) {
    case '\\':
        return escape(w);
    case '[':
        return set(w);
    case '(':
        return group(w);
    case '{':
        return interval(w);
    default:
        copy(w, 1);
        return OK;
    }
}

status pattern_translate(char **out, bool *classes, const char *text, int64_t bytes, const char *where,
                         message *why)
{
    *out = NULL;
    if (bytes > MAX_EXPRESSION || memchr(text, 0, (size_t)bytes))
        return fail(why, ERR_INPUT,
                    "%s: a regular expression of %lld bytes, or with a zero byte, is not supported", where,
                    (long long)bytes);
    walk w = {.text = text, .at = text, .end = text + bytes, .where = where, .why = why};
    status s = OK;
    while (s == OK && w.at < w.end) s = step(&w);
    if (s == OK) {
        text_buffer_append(&w.out, "", 1);
        *out = w.out.text;
        *classes = w.classes;
    } else {
        text_buffer_free(&w.out);
    }
    return s;
}
