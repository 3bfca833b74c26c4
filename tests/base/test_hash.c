/* The running hash is xxhash's of the same bytes in one piece, however they are cut. */
#include "base/hash.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <xxhash.h>
#include <cmocka.h>

static void test_pieces(void **state)
{
    (void)state;
    char data[1000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * i / 7);
    for (int64_t piece = 1; piece < 600; piece += 37) {
        hash_state *h = hash_start();
        for (int64_t from = 0; from < (int64_t)sizeof data; from += piece) {
            const int64_t left = (int64_t)sizeof data - from;
            assert_true(hash_value(h) == XXH3_64bits(data, (size_t)from));
            hash_update(h, data + from, left < piece ? left : piece);
        }
        assert_true(hash_finish(h) == XXH3_64bits(data, sizeof data));
    }
    hash_update(NULL, data, sizeof data);
    assert_true(hash_value(NULL) == 0 && hash_finish(NULL) == 0);
}

static void test_text(void **state)
{
    (void)state;
    char text[HASH_TEXT];
    uint64_t hash;
    hash_text(text, 0x0123456789abcdef);
    assert_string_equal(text, "0123456789abcdef");
    assert_true(hash_parse(text, &hash) && hash == 0x0123456789abcdef);
    assert_true(hash_parse("ffffffffffffffff", &hash) && hash == UINT64_MAX);
    static const char *const wrong[] = {"",
                                        "0123456789abcde",
                                        "0123456789abcdef0",
                                        "0123456789ABCDEF",
                                        "0x23456789abcdef",
                                        " 123456789abcdef"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(hash_parse(wrong[i], &hash));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pieces), cmocka_unit_test(test_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
