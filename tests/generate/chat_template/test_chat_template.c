/* Chat templates against PyPI jinja2 (tests/golden/make_chat.py): the same text, or an error where that has
 * one. Limits: what a template must not be able to do. */
#include "generate/chat_template/chat_template.h"
#include "base/file.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <cmocka.h>

enum { NOW = 1735689600 + 36000 };

static status render(const char *source, json_t *variables, text_buffer *out, message *why)
{
    chat_template *t;
    status s = chat_template_open(&t, source, (int64_t)strlen(source), why);
    if (s == OK) s = chat_template_render(t, variables, NOW, out, why);
    chat_template_close(t);
    return s;
}

static bool check_case(const json_t *c)
{
    text_buffer out = {0};
    message why = {.text = ""};
    const char *name = json_string_value(json_object_get(c, "name")),
               *text = json_string_value(json_object_get(c, "text"));
    const char *source = json_string_value(json_object_get(c, "template"));
    const status s = render(source, json_object_get(c, "variables"), &out, &why);
    text_buffer_append(&out, "", 1);
    const bool good = text ? s == OK && !strcmp(out.text, text)
                           : s == ERR_INPUT && strstr(why.text, "chat template, line ");
    if (!good)
        printf("%s: %s\n--- expected\n%s\n--- found\n%s%s\n", name, source,
               text ? text : json_string_value(json_object_get(c, "error")), s == OK ? out.text : "",
               why.text);
    text_buffer_free(&out);
    return good;
}

static void golden(void **state)
{
    (void)state;
    char path[PATH_BYTES], *text;
    int64_t bytes;
    message why;
    int wrong = 0, cases = 0;
    path_join(path, getenv("REMLA_SOURCE"), "tests/golden/chat/cases.jsonl");
    if (file_read_text(path, 1 << 24, &text, &bytes, &why) != OK) fail_msg("%s", why.text);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        if (!*line) continue;
        json_t *c = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(c);
        wrong += !check_case(c);
        cases++;
        json_decref(c);
    }
    free(text);
    assert_true(cases > 100);
    assert_int_equal(wrong, 0);
}

static void refused(const char *source, const char *sentence)
{
    text_buffer out = {0};
    message why = {.text = ""};
    json_t *variables = json_object();
    const status s = render(source, variables, &out, &why);
    json_decref(variables);
    assert_int_equal(out.bytes, 0);
    text_buffer_free(&out);
    if (s != ERR_INPUT || !strstr(why.text, sentence))
        fail_msg("%.200s: status %d, %s; expected %s", source, s, why.text, sentence);
}

/* n times `piece`. */
static char *repeated(const char *piece, int n)
{
    char *text = calloc((size_t)n, strlen(piece) + 1);
    for (int i = 0; i < n; i++) strcat(text + (size_t)i * strlen(piece), piece);
    return text;
}

static void limits(void **state)
{
    (void)state;
    refused("{% set x = 'a' * 1000 %}{% for i in range(30) %}{% set ns = 1 %}{% endfor %}{{ x * 100000 }}",
            "line 1: a value grows beyond");
    refused("{% set n = namespace(x='a') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "a text grows beyond 16777216 bytes");
    refused("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "it does more than");
    refused("{{ range(100001) | length }}", "range wants whole numbers that make at most 100000");
    refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "it is nested deeper than");
    refused("{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = [n.x] %}{% endfor %}",
            "nested deeper than 64");
    refused("{% set n = namespace() %}{% set n.n = n %}", "a namespace in a namespace");
    refused("{% set n = namespace() %}{% set n.l = [n] %}", "a namespace in a list");
    refused("{{ 9223372036854775807 + 1 }}", "a number leaves the 64 bits");
    refused("{{ 9e999 }}", "expected a finite number");
    refused("{{ 0 ** -1 }}", "a division by zero");
    refused("{{ 1e300 * 1e300 }}", "a number is not finite");
    refused("{{ 99999999999999999999 }}", "expected a number below 2^63");
    refused("a\n\n{{ 'x' | nosuch }}", "line 3: the filter nosuch is not supported");
    refused("{% include 'x' %}", "the tag include is not supported here; there are: for, if, set");
    char *deep = repeated("(", 1000), *closed = repeated(")", 1000), *bare = calloc(1, 3000),
         *chain = repeated("+1", 5000), *sum = calloc(1, 20000);
    sprintf(bare, "{{ %s1%s }}", deep, closed);
    refused(bare, "it is nested deeper than 100");
    sprintf(sum, "{{ 1%s }}", chain);
    refused(sum, "it is nested deeper than 300");
    free(deep);
    free(closed);
    free(bare);
    free(chain);
    free(sum);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
