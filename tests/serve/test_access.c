/* Who may ask: keys, names of the server and pages of other origins. */
#include "serve/access.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static int check(const access_rules *rules, const char *host, const char *origin, const char *authorization)
{
    message why = {""};
    const int code = access_check(rules, &(access_headers){host, origin, authorization}, true, &why);
    if ((code != 0) != (why.text[0] != 0)) fail_msg("code %d with the sentence \"%s\"", code, why.text);
    return code;
}

static void test_key(void **state)
{
    (void)state;
    const access_rules rules = {.host = "127.0.0.1", .key = "secret"};
    assert_int_equal(check(&rules, "localhost", NULL, "Bearer secret"), 0);
    assert_int_equal(check(&rules, "localhost", NULL, "bearer secret"), 0);
    assert_int_equal(check(&rules, "localhost", NULL, NULL), 401);
    assert_int_equal(check(&rules, "localhost", NULL, "Bearer "), 401);
    assert_int_equal(check(&rules, "localhost", NULL, "Bearer secret2"), 401);
    assert_int_equal(check(&rules, "localhost", NULL, "Bearer secre"), 401);
    assert_int_equal(check(&rules, "localhost", NULL, "Basic secret"), 401);
    message why;
    assert_int_equal(access_check(&rules, &(access_headers){"localhost", NULL, NULL}, false, &why), 0);
    const access_rules open = {.host = "127.0.0.1"};
    assert_int_equal(check(&open, NULL, NULL, "Bearer anything"), 0);
}

static void test_host(void **state)
{
    (void)state;
    const access_rules rules = {.host = "127.0.0.1"}, wide = {.host = "0.0.0.0"};
    const char *good[] = {"localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]", "[::1]:80",
                          NULL};
    const char *bad[] = {
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "",
        "[::2]:80",     "192.168.0.1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(check(&rules, good[i], NULL, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(check(&rules, bad[i], NULL, NULL), 403);
    assert_int_equal(check(&wide, "any.name", NULL, NULL), 0);
}

static void test_origin(void **state)
{
    (void)state;
    const char *known[] = {"http://page.example", "http://other.example:81"}, *all[] = {"*"};
    const access_rules closed = {.host = "127.0.0.1"};
    const access_rules some = {.host = "127.0.0.1", .origins = known, .num_origins = 2};
    const access_rules any = {.host = "127.0.0.1", .origins = all, .num_origins = 1};
    assert_int_equal(check(&closed, "127.0.0.1:8000", "http://127.0.0.1:8000", NULL), 0);
    assert_int_equal(check(&closed, "127.0.0.1:8000", "http://127.0.0.1:8001", NULL), 403);
    assert_int_equal(check(&closed, "127.0.0.1:8000", "http://page.example", NULL), 403);
    assert_int_equal(check(&closed, "127.0.0.1:8000", "null", NULL), 403);
    assert_int_equal(check(&closed, NULL, "http://page.example", NULL), 403);
    assert_int_equal(check(&some, "127.0.0.1:8000", "http://page.example", NULL), 0);
    assert_int_equal(check(&some, "127.0.0.1:8000", "http://other.example:81", NULL), 0);
    assert_int_equal(check(&some, "127.0.0.1:8000", "http://other.example", NULL), 403);
    assert_int_equal(check(&any, "127.0.0.1:8000", "null", NULL), 0);
    assert_true(access_is_foreign(&(access_headers){"localhost:1", "http://page.example", NULL}));
    assert_false(access_is_foreign(&(access_headers){"localhost:1", "http://localhost:1", NULL}));
    assert_false(access_is_foreign(&(access_headers){"localhost:1", NULL, NULL}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_key), cmocka_unit_test(test_host),
                                       cmocka_unit_test(test_origin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
