/* Filters and templates against what Python gives for the same texts. */
#include "tests/support/check.h"
#include "data/tokenizer/unicode.h"
#include "eval/tasks/template.h"
#include <jansson.h>
#include <string.h>

static void expect(const char *chain, const char *text, const char *want)
{
    text_buffer b = {0};
    message why;
    text_buffer_append(&b, text, (int64_t)strlen(text));
    if (filters_apply(chain, (int64_t)strlen(chain), &b, &why) != OK) fail_msg("%s", why.text);
    text_buffer_append(&b, "", 1);
    assert_string_equal(b.text, want);
    text_buffer_free(&b);
}

static void each_filter(void **state)
{
    (void)state;
    expect("strip", "", "");
    expect("strip", " \t\n\v\f\r\x1c\x1f", "");
    expect("strip", "\xc2\x85\xc2\xa0 a\xe3\x80\x80 b\xe2\x80\xa8\xe1\x9a\x80",
           "a\xe3\x80\x80 b"); /* U+0085, U+00A0 ... */
    expect("strip", "\xe2\x80\x8b a \xe1\xa0\x8e",
           "\xe2\x80\x8b a \xe1\xa0\x8e"); /* U+200B, U+180E are none */
    expect("capitalize", "the LADY In black", "The lady in black");
    expect("capitalize", "", "");
    expect("capitalize", "\xc7\x86\xc3\x89", "\xc7\x85\xc3\xa9"); /* titlecase of U+01C6 is U+01C5 */
    expect("clean", "a [title] b", "a. b");
    expect("clean", "[header] How to [b] c", " How to c");
    expect("clean", "a   b    c", "a  b  c");
    expect("clean", "a [b\nc] d ]e[", "a [b\nc] d ]e[");
    expect("clean", "x [a [b] c] y", "x c] y");
    expect("strip|clean", " [substeps] Many ", " Many");
    expect("replace:_: ", "high_school_law", "high school law");
    expect("replace:a:", "banana", "bnn");
    expect("before:_", "the _ is _", "the ");
    expect("after:_|strip", "the _ is _ ", "is _");
    assert_int_equal(utf8_length("\xc3\xa9"
                                 "a\xe2\x82\xac",
                                 6),
                     3);
    assert_int_equal(filters_stripped("a \xc2\xa0\n", 5), 1);
    assert_int_equal(filters_stripped(" \n", 2), 0);
}

static const char *refusal(const char *template, const template_values *v)
{
    static message why;
    text_buffer out = {0};
    why.text[0] = 0;
    if (template_render(&out, template, v, &why) == OK) fail_msg("%s is rendered", template);
    text_buffer_free(&out);
    return why.text;
}

static void templates(void **state)
{
    (void)state;
    const char *const choice[] = {"a{b}", "c"};
    json_t *line = json_pack("{s:s, s:i, s:[s]}", "q", " x_y ", "n", 7, "list", "z");
    const template_values v = {.line = line, .choice = choice, .choices = 2, .current = 1};
    text_buffer out = {0};
    message why;
    if (template_render(&out, "{{{q|strip|replace:_:-}}} {n}\n{choices|letters}\n{letter} {choice}", &v,
                        &why) != OK)
        fail_msg("%s", why.text);
    text_buffer_append(&out, "", 1);
    assert_string_equal(out.text, "{x-y} 7\nA. a{b}\nB. c\nB c");
    text_buffer_free(&out);

    assert_non_null(strstr(refusal("{p}", &v), "there is no field \"p\""));
    assert_non_null(strstr(refusal("{list}", &v), "neither a text nor a whole number"));
    assert_non_null(strstr(refusal("{q|upper}", &v), "there is no filter \"upper\""));
    assert_non_null(strstr(refusal("{q|before:#}", &v), "there is no \"#\""));
    assert_non_null(strstr(refusal("{choices}", &v), "{choices|letters}"));
    assert_non_null(strstr(refusal("a } b", &v), "single }"));
    assert_non_null(strstr(refusal("a {q", &v), "single {"));
    assert_non_null(strstr(refusal("{}", &v), "name of a field"));
    json_decref(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_filter), cmocka_unit_test(templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
