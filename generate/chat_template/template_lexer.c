/* The lexer of Jinja 3 (jinja2/lexer.py) for the usual delimiters. A tag takes white space away around it:
 * `{%-` and `-%}` all of it; without a sign a block or comment takes the blanks before it, if nothing else is
 * before it in the line, and the end of line behind it. `+` keeps both. */
#include "generate/chat_template/template_lexer.h"
#include "base/array.h"
#include "data/tokenizer/unicode.h"
#include <stdlib.h>
#include <string.h>

typedef struct lexer {
    const char *at, *end;
    int line;
    bool line_starting; /* nothing but removed text stands before `at` in its line */
    template_tokens *out;
    message *why;
} lexer;

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool looking_at(const lexer *x, const char *what)
{
    const size_t n = strlen(what);
    return (size_t)(x->end - x->at) >= n && !memcmp(x->at, what, n);
}

static void advance(lexer *x, int64_t bytes)
{
    for (const char *to = x->at + bytes; x->at < to; x->at++) x->line += *x->at == '\n';
}

static status wrong(const lexer *x, const char *what)
{
    return fail(x->why, ERR_INPUT, "line %d: %s", x->line, what);
}

static void add(lexer *x, template_token_kind kind, const char *text, int64_t bytes)
{
    template_tokens *t = x->out;
    t->token = array_reserve(t->token, &t->capacity, t->count + 1, sizeof *t->token);
    t->token[t->count++] =
        (template_token){.kind = kind, .line = x->line, .from = t->text.bytes, .bytes = bytes};
    text_buffer_append(&t->text, text, bytes);
    text_buffer_append(&t->text, "", 1);
}

/* ---- inside a tag -------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* \x41, \u00e9, \U0001f600: `digits` of them at x->at. */
static status read_code(lexer *x, int digits, text_buffer *out)
{
    uint32_t c = 0;
    for (int i = 0; i < digits; i++) {
        const int digit = x->at < x->end ? hex_digit(*x->at) : -1;
        if (digit < 0) return wrong(x, "a string has \\x, \\u or \\U without its digits");
        c = c << 4 | (uint32_t)digit;
        x->at++;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return wrong(x, "a string has a \\u that is no character");
    out->bytes += utf8_put(text_buffer_reserve(out, 4), c);
    return OK;
}

static status read_escape(lexer *x, text_buffer *out)
{
    static const char letters[] = "ntrabfv\\'\"", meanings[] = "\n\t\r\a\b\f\v\\'\"";
    const char c = *x->at, *found = strchr(letters, c);
    if (c && found) {
        x->at++;
        text_buffer_append(out, &meanings[found - letters], 1);
        return OK;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        x->at++;
        return read_code(x, c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
    }
    if (is_digit(c)) return wrong(x, "octal escapes in strings are not supported");
    if (c == '\n') return advance(x, 1), OK;
    text_buffer_append(out, "\\", 1); /* Python leaves others as they are */
    return OK;
}

static status read_string(lexer *x)
{
    const char quote = *x->at++;
    text_buffer text = {0};
    status s = OK;
    while (s == OK && x->at < x->end && *x->at != quote) {
        if (*x->at == '\\' && x->at + 1 < x->end) {
            x->at++;
            s = read_escape(x, &text);
        } else {
            text_buffer_append(&text, x->at, 1);
            advance(x, 1);
        }
    }
    if (s == OK && x->at == x->end) s = wrong(x, "a string does not end");
    if (s == OK) {
        x->at++;
        add(x, TOKEN_STRING, text.bytes ? text.text : "", text.bytes);
    }
    text_buffer_free(&text);
    return s;
}

static void read_digits(const char **p, const char *end)
{
    while (*p < end && (is_digit(**p) || **p == '_')) (*p)++;
}

static void read_number(lexer *x)
{
    const char *p = x->at;
    template_token_kind kind = TOKEN_INTEGER;
    read_digits(&p, x->end);
    if (x->end - p > 1 && *p == '.' && is_digit(p[1])) {
        kind = TOKEN_FLOAT;
        p++;
        read_digits(&p, x->end);
    }
    if (x->end - p > 1 && (*p == 'e' || *p == 'E')) {
        const char *q = p + 1;
        if (x->end - q > 1 && (*q == '+' || *q == '-')) q++;
        if (is_digit(*q)) {
            kind = TOKEN_FLOAT;
            read_digits(&q, x->end);
            p = q;
        }
    }
    add(x, kind, x->at, p - x->at);
    x->at = p;
}

static void read_name(lexer *x)
{
    const char *p = x->at;
    while (p < x->end && (is_name(*p) || is_digit(*p))) p++;
    add(x, TOKEN_NAME, x->at, p - x->at);
    x->at = p;
}

static status read_operator(lexer *x, int *depth)
{
    static const char *const operators[] = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "~",
                                            "*",  "/",  "%",  "<",  ">",  "=",  "(", ")", "[",
                                            "]",  "{",  "}",  ",",  ":",  ".",  "|"};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (!looking_at(x, operators[i])) continue;
        const char c = *x->at;
        *depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
        if (*depth < 0) return wrong(x, "a bracket closes that was not opened");
        const int64_t bytes = (int64_t)strlen(operators[i]);
        add(x, TOKEN_OPERATOR, x->at, bytes);
        x->at += bytes;
        return OK;
    }
    return fail(x->why, ERR_INPUT, "line %d: byte 0x%02x has no meaning inside a tag", x->line,
                (uint8_t)*x->at);
}

/* Behind the end of a tag, at its closing sign if it has one. */
static void skip_behind(lexer *x, char sign, bool block)
{
    if (sign == '-')
        while (x->at < x->end && is_space(*x->at)) advance(x, 1);
    else if (block && sign != '+' && looking_at(x, "\n"))
        advance(x, 1);
    x->line_starting = x->at[-1] == '\n';
}

/* Reads to the end of the tag, `close`, at the depth of 0. */
static status read_tag(lexer *x, const char *close, bool block)
{
    int depth = 0;
    for (;;) {
        while (x->at < x->end && is_space(*x->at)) advance(x, 1);
        if (x->at == x->end) return wrong(x, "a tag does not end");
        const char sign = *x->at;
        const bool signed_end =
            (sign == '-' || (block && sign == '+')) && x->end - x->at > 2 && !memcmp(x->at + 1, close, 2);
        if (depth == 0 && (signed_end || looking_at(x, close))) {
            add(x, block ? TOKEN_BLOCK_END : TOKEN_OUTPUT_END, close, 2);
            advance(x, signed_end ? 3 : 2);
            skip_behind(x, signed_end ? sign : 0, block);
            return OK;
        }
        if (sign == '\'' || sign == '"')
            TRY(read_string(x));
        else if (is_digit(sign))
            read_number(x);
        else if (is_name(sign))
            read_name(x);
        else
            TRY(read_operator(x, &depth));
    }
}

/* ---- between tags -------------------------------------------------------------------------------------- */

static status skip_comment(lexer *x)
{
    const char *close = memmem(x->at, (size_t)(x->end - x->at), "#}", 2);
    if (!close) return wrong(x, "a comment does not end");
    const char sign = close > x->at ? close[-1] : 0;
    advance(x, close + 2 - x->at);
    skip_behind(x, sign, true);
    return OK;
}

/* How much of the text before a tag stays. */
static int64_t text_kept(const lexer *x, const char *text, int64_t bytes, char sign, bool block)
{
    int64_t kept = bytes;
    if (sign == '-') {
        while (kept > 0 && is_space(text[kept - 1])) kept--;
        return kept;
    }
    if (!block || sign == '+') return bytes;
    while (kept > 0 && text[kept - 1] != '\n' && is_space(text[kept - 1])) kept--;
    const bool whole_line = kept > 0 ? text[kept - 1] == '\n' : x->line_starting;
    return whole_line ? kept : bytes;
}

static const char *next_tag(const lexer *x)
{
    const char *p = x->at;
    while ((p = memchr(p, '{', (size_t)(x->end - p))) && x->end - p > 1) {
        if (p[1] == '{' || p[1] == '%' || p[1] == '#') return p;
        p++;
    }
    return NULL;
}

static status read_next(lexer *x)
{
    const char *tag = next_tag(x), *text = x->at;
    if (!tag) {
        if (x->at < x->end) add(x, TOKEN_TEXT, x->at, x->end - x->at);
        advance(x, x->end - x->at);
        return OK;
    }
    const char kind = tag[1], sign = x->end - tag > 2 && (tag[2] == '-' || tag[2] == '+') ? tag[2] : 0;
    const bool output = kind == '{';
    const int64_t kept = text_kept(x, text, tag - text, sign, !output);
    if (kept) add(x, TOKEN_TEXT, text, kept);
    advance(x, tag - text + (sign && !(output && sign == '+') ? 3 : 2));
    if (kind == '#') return skip_comment(x);
    add(x, output ? TOKEN_OUTPUT_BEGIN : TOKEN_BLOCK_BEGIN, tag, 2);
    return read_tag(x, output ? "}}" : "%}", !output);
}

/* One "\n" for each end of line, and none at the very end, as Jinja reads a template. */
static void normalize(const char *source, int64_t bytes, text_buffer *out)
{
    for (int64_t i = 0; i < bytes; i++) {
        const bool pair = source[i] == '\r' && i + 1 < bytes && source[i + 1] == '\n';
        text_buffer_append(out, source[i] == '\r' ? "\n" : source + i, 1);
        i += pair;
    }
    if (out->bytes && out->text[out->bytes - 1] == '\n') out->bytes--;
    text_buffer_append(out, "", 1);
    out->bytes--;
}

status template_lex(template_tokens *out, const char *source, int64_t bytes, message *why)
{
    if (utf8_check(source, bytes) >= 0 || memchr(source, 0, (size_t)bytes))
        return fail(why, ERR_INPUT, "it is not UTF-8 text");
    text_buffer text = {0};
    normalize(source, bytes, &text);
    lexer x = {.at = text.text,
               .end = text.text + text.bytes,
               .line = 1,
               .line_starting = true,
               .out = out,
               .why = why};
    status s = OK;
    while (s == OK && x.at < x.end) s = read_next(&x);
    add(&x, TOKEN_EOF, "", 0);
    text_buffer_free(&text);
    return s;
}

void template_tokens_free(template_tokens *t)
{
    text_buffer_free(&t->text);
    free(t->token);
    *t = (template_tokens){0};
}
