/* Matches with PCRE2: an expression is translated from Oniguruma's syntax, compiled once, to machine code if
 * possible, and shared; each thread has match data and a stack of its own. Time and memory of a match are
 * limited, since both can be exponential. */
#include "data/tokenizer/pattern.h"
#include "base/memory.h"
#include "data/tokenizer/pattern_translate.h"
#include "data/tokenizer/unicode.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct pattern {
    pcre2_code *code;
    char *text; /* for messages */
    bool classes;
};

struct pattern_work {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

enum { STACK_START = 32 << 10, STACK_LIMIT = 16 << 20, MATCH_LIMIT = 100 << 20, HEAP_LIMIT_KIB = 256 << 10 };

static status compile(pattern *p, const char *text, int64_t bytes, uint32_t options, const char *where,
                      message *why)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context || pcre2_set_newline(context, PCRE2_NEWLINE_LF)) memory_failed("a regular expression");
    int error;
    PCRE2_SIZE place; /* in the translation, which the user does not see */
    p->code =
        pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)bytes, PCRE2_UTF | options, &error, &place, context);
    pcre2_compile_context_free(context);
    if (!p->code && error == PCRE2_ERROR_HEAP_FAILED) memory_failed("a regular expression");
    if (!p->code) {
        char reason[128];
        pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
        return fail(why, ERR_INPUT, "%s: regular expression \"%.200s\": %s", where, p->text, reason);
    }
    /* Without a compiler for this machine, or if it may not make code, matching is slower, with the same
     * result. */
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);
    return OK;
}

status pattern_compile(pattern **out, const char *text, int64_t bytes, bool literal, const char *where,
                       message *why)
{
    *out = NULL;
    char *translated = NULL;
    bool classes = false;
    if (!literal) TRY(pattern_translate(&translated, &classes, text, bytes, where, why));
    pattern *p = memory_new(1, sizeof *p, "a regular expression");
    p->text = memory_check(strndup(text, (size_t)bytes), "a regular expression");
    p->classes = classes;
    const status s = literal ? compile(p, text, bytes, PCRE2_LITERAL, where, why)
                             : compile(p, translated, (int64_t)strlen(translated),
                                       PCRE2_UCP | PCRE2_MULTILINE, where, why);
    free(translated);
    if (s == OK)
        *out = p;
    else
        pattern_free(p);
    return s;
}

void pattern_free(pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    free(p->text);
    free(p);
}

bool pattern_has_classes(const pattern *p) { return p->classes; }

pattern_work *pattern_work_new(void)
{
    static const char what[] = "a regular expression";
    pattern_work *w = memory_new(1, sizeof *w, what);
    w->match = memory_check(pcre2_match_data_create(1, NULL), what); /* only the place of the whole match */
    w->context = memory_check(pcre2_match_context_create(NULL), what);
    w->stack = memory_check(pcre2_jit_stack_create(STACK_START, STACK_LIMIT, NULL), what);
    pcre2_jit_stack_assign(w->context, NULL, w->stack);
    pcre2_set_match_limit(w->context, MATCH_LIMIT);
    pcre2_set_heap_limit(w->context, HEAP_LIMIT_KIB);
    return w;
}

void pattern_work_free(pattern_work *w)
{
    if (!w) return;
    pcre2_jit_stack_free(w->stack);
    pcre2_match_context_free(w->context);
    pcre2_match_data_free(w->match);
    free(w);
}

pattern_search pattern_begin(const pattern *p, pattern_work *w, const char *text, int64_t bytes)
{
    return (pattern_search){.p = p, .w = w, .text = text, .bytes = bytes, .last_end = -1};
}

static status search_failed(const pattern_search *s, int code, message *why)
{
    if (code == PCRE2_ERROR_NOMEMORY) memory_failed("matching \"%.200s\"", s->p->text);
    char reason[128];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
    return fail(why, ERR_INPUT, "matching \"%.200s\" in %lld bytes of text failed at byte %lld: %s",
                s->p->text, (long long)s->bytes, (long long)s->from, reason);
}

status pattern_next(pattern_search *s, bool *found, message *why)
{
    for (;;) {
        *found = false;
        if (s->from > s->bytes) return OK;
        const int code = pcre2_match(s->p->code, (PCRE2_SPTR)s->text, (PCRE2_SIZE)s->bytes,
                                     (PCRE2_SIZE)s->from, PCRE2_NO_UTF_CHECK, s->w->match, s->w->context);
        if (code == PCRE2_ERROR_NOMATCH) return OK;
        if (code < 0) return search_failed(s, code, why);
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(s->w->match);
        s->start = (int64_t)place[0], s->end = (int64_t)place[1];
        if (s->start < s->end || s->end != s->last_end) break;
        s->from += s->from < s->bytes ? utf8_bytes(s->text[s->from]) : 1;
    }
    *found = true;
    s->from = s->last_end = s->end;
    return OK;
}
