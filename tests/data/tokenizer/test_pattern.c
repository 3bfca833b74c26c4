/* Regular expressions: what they match, what is refused because the two engines read it differently, and the
 * matching itself. (That both find the same in any text is e2e/tokenizer's to show.) */
#include "data/tokenizer/pattern.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static pattern *compile(const char *text, bool literal)
{
    pattern *p;
    message why;
    if (pattern_compile(&p, text, (int64_t)strlen(text), literal, "t.json", &why) != OK)
        fail_msg("%s", why.text);
    return p;
}

/* The matches in `text`, each in brackets. */
static const char *mark(const char *expression, bool literal, const char *text)
{
    static char out[1024];
    pattern *p = compile(expression, literal);
    pattern_work *w = pattern_work_new();
    pattern_search s = pattern_begin(p, w, text, (int64_t)strlen(text));
    message why;
    int64_t done = 0;
    out[0] = 0;
    for (bool found;;) {
        assert_int_equal(pattern_next(&s, &found, &why), OK);
        if (!found) break;
        snprintf(out + strlen(out), sizeof out - strlen(out), "%.*s[%.*s]", (int)(s.start - done),
                 text + done, (int)(s.end - s.start), text + s.start);
        done = s.end;
    }
    strcat(out, text + done);
    pattern_work_free(w);
    pattern_free(p);
    return out;
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *text, *marked;
    } cases[] = {
        {"'s|'t| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "it's  42!\n x",
         "[it]['s][ ][ 42][!][\n][ x]"},
        {"(?i:'ll|'s)", "we'LL she'ſ", "we['LL] she['ſ]"},
        {"\\p{N}{1,3}", "1234567٣", "[123][456][7٣]"},
        {"\\s+$|^b", "a \nb b  \nb", "a[ ]\n[b] b[  ]\n[b]"}, /* Ruby's ^ and $ are those of lines */
        {"\\s", "a\x0b\xc2\x85\xe3\x80\x80\xe1\xa0\x8e", "a[\x0b][\xc2\x85][\xe3\x80\x80]\xe1\xa0\x8e"},
        {"[^\\s]", " \xe1\xa0\x8e", " [\xe1\xa0\x8e]"}, /* U+180E is no space */
        {"\\S+", "a\xe1\xa0\x8e b", "[a\xe1\xa0\x8e] [b]"},
        {"\\p{Han}+", "、漢字。ー", "、[漢字]。ー"}, /* the script, not its extensions */
        {"[\\u4e00-\\u9fa5]", "a漢", "a[漢]"},
        {"\\x{1F600}|\\.", "x😀.", "x[😀][.]"},
        {"a{2}|b{1,2}?|c{2,}", "aaabbccc", "[aa]a[b][b][ccc]"},
        {"(?=b)", "abab", "a[]ba[]b"}, /* an empty match counts, but not right behind another */
        {"x*", "xxax", "[xx]a[x]"},
        {"(?<=a)b|(?<!a)c|(?>d)", "abacbcd", "a[b]acb[c][d]"},
        {"a++b?+c*+", "aabc", "[aabc]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(mark(cases[i].expression, false, cases[i].text), cases[i].marked);
    assert_string_equal(mark(".|é", true, "a.|é.|"), "a[.|é].|");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\\w+", "\"\\w\" in the regular expression"},
        {"a\\b", "\"\\b\""},
        {"\\h", "\"\\h\""},
        {"\\v", "\"\\v\""},
        {"\\Aa\\z", "\"\\A\""},
        {"(a)\\1", "\"\\1\""},
        {"\\x41", "\"\\x\""},
        {"\\u41", "\"\\u\""},
        {"\\p{Alpha}", "\"\\p{Alpha}\""},
        {"\\pL", "\"\\p\""},
        {"\\p{L", "\"\\p\""},
        {"[a[bc]]", "\"[\""},
        {"[[:alpha:]]", "\"[\""},
        {"[a&&b]", "\"&&\""},
        {"[]a]", "\"[]\""},
        {"[a\\S]", "\"\\S\""},
        {"[a", "\"[\""},
        {"(?i:a[b])", "\"(?i:a[\""},
        {"(?i:strasse)", "\"(?i:st\""},
        {"(?m:a)", "\"(?m:\""},
        {"(?<name>a)", "\"(?<n\""},
        {"(?#)", "\"(?#)\""},
        {"(*ACCEPT)a", "\"(*ACCEPT)a\""},
        {"a|(*UCP)", "\"(*UCP)\""},
        {"(*LIMIT_MATCH=1)a", "\"(*LIMIT_MATC\""},
        {"a{2}+", "\"{2}+\""},
        {"a{2}?", "\"{2}?\""},
        {"a{,2}", "\"{\""},
        {"a{x}", "\"{\""},
        {"a\\", "\"\\\""},
        {"(a", "missing closing parenthesis"},
        {"*a", "quantifier does not follow"},
        {"(?<=a+)b", "lookbehind assertion is not fixed length"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pattern *p;
        message why = {""};
        assert_int_equal(
            pattern_compile(&p, cases[i][0], (int64_t)strlen(cases[i][0]), false, "t.json", &why), ERR_INPUT);
        assert_null(p);
        if (strncmp(why.text, "t.json: ", 8) != 0 || !strstr(why.text, cases[i][1]))
            fail_msg("%s: expected %s in: %s", cases[i][0], cases[i][1], why.text);
    }
}

/* An expression that would run forever ends with a sentence. */
static void test_endless(void **state)
{
    (void)state;
    pattern *p = compile("(?:a|a|aa)*[bd]", false);
    pattern_work *w = pattern_work_new();
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac";
    pattern_search s = pattern_begin(p, w, text, sizeof text - 1);
    bool found;
    message why = {""};
    assert_int_equal(pattern_next(&s, &found, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "in 61 bytes of text failed at byte 0: match limit exceeded"));
    pattern_work_free(w);
    pattern_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matches), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_endless)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
