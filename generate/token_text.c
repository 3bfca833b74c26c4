/* Tokens wait (`waiting`) until their text ends with a whole character. Their text is what tokenizer_decode
 * makes of them behind a token of a letter (`anchor`), so that they are not the beginning of a text: no other
 * property of their neighbours has an influence on it, but that bytes of one character must be together.
 *
 * An unfinished character shows as U+FFFD at the end. It takes four tokens at most; after them, what looks so
 * is broken, or is U+FFFD itself. */
#include "generate/token_text.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST_CHARACTER = 4 };
static const char replacement[3] = {'\xef', '\xbf', '\xbd'}; /* U+FFFD */

struct token_text {
    const tokenizer *t;
    bool special, inside;
    int64_t anchor; /* its id; -1: there is none */
    int64_t anchor_bytes;
    token_list waiting; /* behind the anchor, if `inside` */
    int64_t shown;      /* bytes of their text that have been given out */
    int quiet;          /* tokens since anything was, or since the last whole character */
    text_buffer text;   /* scratch */
};

/* The text of one token behind itself is its text twice: then it keeps to itself. */
static bool can_be_anchor(const tokenizer *t, int64_t id, int64_t *bytes)
{
    text_buffer once = {0}, twice = {0};
    message ignored;
    bool fits =
        tokenizer_decode(t, (const uint32_t[]){(uint32_t)id}, 1, true, &once, &ignored) == OK &&
        tokenizer_decode(t, (const uint32_t[]){(uint32_t)id, (uint32_t)id}, 2, true, &twice, &ignored) == OK;
    *bytes = once.bytes;
    fits = fits && once.bytes && once.text[0] != ' ' && twice.bytes >= 2 * once.bytes &&
           !memcmp(twice.text, once.text, (size_t)once.bytes) &&
           !memcmp(twice.text + twice.bytes - once.bytes, once.text, (size_t)once.bytes);
    text_buffer_free(&once);
    text_buffer_free(&twice);
    return fits;
}

static void find_anchor(token_text *x)
{
    for (const char *letter = "aetoinsrhEATOINSRH.,-0123456789"; *letter; letter++) {
        x->anchor = tokenizer_id(x->t, (const char[]){*letter, 0});
        if (x->anchor >= 0 && can_be_anchor(x->t, x->anchor, &x->anchor_bytes)) return;
    }
    x->anchor = -1;
    x->anchor_bytes = 0;
}

static void begin_inside(token_text *x)
{
    x->inside = true;
    x->waiting.count = 0;
    if (x->anchor >= 0) token_list_add(&x->waiting, (uint32_t)x->anchor);
    x->shown = x->anchor_bytes;
    x->quiet = 0;
}

token_text *token_text_new(const tokenizer *t, bool special, bool inside)
{
    token_text *x = memory_new(1, sizeof *x, "the text of tokens");
    *x = (token_text){.t = t, .special = special};
    find_anchor(x);
    if (inside) begin_inside(x);
    return x;
}

void token_text_free(token_text *x)
{
    if (!x) return;
    token_list_free(&x->waiting);
    text_buffer_free(&x->text);
    free(x);
}

static bool ends_broken(const text_buffer *text, int64_t bytes)
{
    return bytes >= 3 && !memcmp(text->text + bytes - 3, replacement, 3);
}

static void show(token_text *x, int64_t until, text_buffer *out)
{
    if (until <= x->shown) return;
    text_buffer_append(out, x->text.text + x->shown, until - x->shown);
    x->shown = until;
    x->quiet = 0;
}

/* Decodes what waits; false if the last token is unknown, which is then forgotten. */
static bool decode(token_text *x)
{
    message ignored;
    x->text.bytes = 0;
    if (tokenizer_decode(x->t, x->waiting.id, x->waiting.count, !x->special, &x->text, &ignored) == OK)
        return true;
    x->waiting.count--;
    return false;
}

void token_text_push(token_text *x, int32_t token, text_buffer *out)
{
    token_list_add(&x->waiting, (uint32_t)token);
    if (!decode(x)) return;
    x->quiet++;
    int64_t whole = x->text.bytes;
    while (whole > x->shown && ends_broken(&x->text, whole)) whole -= 3;
    const bool finished = whole == x->text.bytes;
    if (!finished && x->quiet >= LONGEST_CHARACTER && x->text.bytes - whole > 3) whole = x->text.bytes - 3;
    show(x, whole, out);
    if (finished) x->quiet = 0;
    if (finished && x->text.bytes > 0) begin_inside(x);
}

void token_text_end(token_text *x, text_buffer *out)
{
    if (x->waiting.count && decode(x)) show(x, x->text.bytes, out);
    begin_inside(x);
}
