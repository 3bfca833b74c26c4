/* Templates are filled from left to right; what a field brings is not looked into again. */
#include "eval/tasks/template.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void append(text_buffer *out, const char *text)
{
    text_buffer_append(out, text, (int64_t)strlen(text));
}

static void append_letters(text_buffer *out, const template_values *v)
{
    for (int i = 0; i < v->choices; i++) {
        const char letter[] = {(char)('A' + i), '.', ' ', 0};
        if (i) append(out, "\n");
        append(out, letter);
        append(out, v->choice[i]);
    }
}

static status append_field(text_buffer *out, const char *name, const template_values *v, message *why)
{
    const json_t *value = json_object_get(v->line, name);
    char number[32];
    if (!value) return fail(why, ERR_INPUT, "there is no field \"%s\"", name);
    if (json_is_string(value))
        append(out, json_string_value(value));
    else if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        append(out, number);
    } else
        return fail(why, ERR_INPUT, "the field \"%s\" is neither a text nor a whole number", name);
    return OK;
}

/* What is between braces: a name and filters. */
static status append_braces(text_buffer *out, const char *text, int64_t bytes, const template_values *v,
                            message *why)
{
    const char *bar = memchr(text, '|', (size_t)bytes);
    const int64_t name_bytes = bar ? bar - text : bytes, filters = bar ? bytes - name_bytes - 1 : 0;
    const char letter[] = {(char)('A' + v->current), 0};
    char name[64];
    if (!name_bytes || name_bytes >= (int64_t)sizeof name)
        return fail(why, ERR_INPUT, "{%.*s} does not begin with the name of a field",
                    (int)(bytes < 100 ? bytes : 100), text);
    snprintf(name, sizeof name, "%.*s", (int)name_bytes, text);
    if (!strcmp(name, "choices")) {
        if (filters != 7 || memcmp(bar + 1, "letters", 7) != 0)
            return fail(why, ERR_INPUT, "{choices} stands alone; there is {choices|letters}");
        append_letters(out, v);
        return OK;
    }
    text_buffer value = {0};
    status s = OK;
    if (!strcmp(name, "choice"))
        append(&value, v->choice[v->current]);
    else if (!strcmp(name, "letter"))
        append(&value, letter);
    else
        s = append_field(&value, name, v, why);
    message inner;
    if (s == OK && filters_apply(bar ? bar + 1 : "", filters, &value, &inner) != OK)
        s = fail(why, ERR_INPUT, "{%.*s}: %.900s", (int)(bytes < 100 ? bytes : 100), text, inner.text);
    if (s == OK) text_buffer_append(out, value.text, value.bytes);
    text_buffer_free(&value);
    return s;
}

status template_render(text_buffer *out, const char *template, const template_values *v, message *why)
{
    for (const char *at = template; *at;) {
        const size_t plain = strcspn(at, "{}");
        text_buffer_append(out, at, (int64_t)plain);
        at += plain;
        if (!*at) break;
        if (at[0] == at[1]) { /* {{ or }} */
            text_buffer_append(out, at, 1);
            at += 2;
            continue;
        }
        const char *end = *at == '{' ? strpbrk(at + 1, "{}") : NULL;
        if (!end || *end != '}')
            return fail(why, ERR_INPUT, "the template has a single %c; write %c%c for it", *at, *at, *at);
        TRY(append_braces(out, at + 1, end - at - 1, v, why));
        at = end + 1;
    }
    return OK;
}
