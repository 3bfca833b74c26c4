/* UTF-8 beside its grammar, twins beside PCRE2's own classes, normal forms beside utf8proc's. */
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/normal_form.h"
#include "data/tokenizer/unicode.h"
#include "tests/support/draw.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <cmocka.h>

static const struct {
    uint32_t first, last, twin;
} rows[] = {
#define TWIN(first, last, twin) {first, last, twin},
#define INERT(first, last)      {first, last, 0},
#include "data/tokenizer/unicode.def"
#undef TWIN
#undef INERT
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static bool is_character(uint32_t c) { return c < 0xd800 || (c > 0xdfff && c < 0x110000); }

/* ---- UTF-8 --------------------------------------------------------------------------------------------- */

static void test_every_character(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (!is_character(c)) continue;
        char text[4];
        int length;
        const int bytes = utf8_put(text, c);
        assert_int_equal(utf8_check(text, bytes), -1);
        assert_int_equal(utf8_at(text, &length), c);
        assert_int_equal(length, bytes);
        assert_int_equal(utf8_bytes(text[0]), bytes);
        for (int cut = 1; cut < bytes; cut++) assert_int_equal(utf8_check(text, cut), 0);
    }
}

/* Bytes that may follow the first, from Unicode's table 3-7. */
static bool second_is_good(uint8_t first, uint8_t second)
{
    const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

static void test_every_beginning(void **state)
{
    (void)state;
    for (int first = 0x80; first < 0x100; first++)
        for (int second = 0; second < 0x100; second++) {
            const int bytes = first < 0xc2 || first > 0xf4 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
            char text[12] = {'1', '2',         '3',          '4',    '5',    '6',
                             '7', (char)first, (char)second, '\x80', '\xbf', 'x'};
            const bool good = bytes && second_is_good((uint8_t)first, (uint8_t)second);
            assert_int_equal(utf8_check(text, good ? 7 + bytes : 12), good ? -1 : 7);
        }
    assert_int_equal(utf8_check("abc\xe6\xbcx", 6), 3);
    assert_int_equal(utf8_check("", 0), -1);
}

/* ---- twins --------------------------------------------------------------------------------------------- */

static void test_twins(void **state)
{
    (void)state;
    uint32_t before = 0;
    for (int i = 0; i < ROWS; i++) {
        if (i > 0 && (rows[i].twin != 0) != (rows[i - 1].twin != 0)) before = 0;
        assert_true(rows[i].first > before && rows[i].last >= rows[i].first);
        before = rows[i].last;
        for (uint32_t c = rows[i].first; c <= rows[i].last; c++) {
            char text[16] = "xx", twin[4];
            assert_true(unicode_is_inert(c));
            if (!rows[i].twin) continue;
            assert_int_equal(unicode_twin(c), rows[i].twin);
            assert_int_equal(unicode_twin(rows[i].twin), 0);
            const int bytes = utf8_put(text + 2, c);
            assert_int_equal(utf8_put(twin, rows[i].twin), bytes);
            assert_true(unicode_has_twins(text, 2 + bytes));
            unicode_put_twins(text, 2 + bytes);
            assert_memory_equal(text + 2, twin, (size_t)bytes);
            assert_false(unicode_has_twins(text, 2 + bytes));
        }
    }
    assert_int_equal(unicode_twin('a'), 0);
    assert_int_equal(unicode_twin(0x1f600), 0);
}

/* ---- normal forms -------------------------------------------------------------------------------------- */

static uint64_t seed = 1;

static uint32_t draw(uint32_t below) { return draw_below(&seed, below); }

/* Letters with marks, Jamo, compatibility characters, ASCII; none that is inert. */
static uint32_t draw_character(void)
{
    static const uint32_t blocks[] = {0x20,   0x20,   0x41,   0x61,    0xc0,   0x100,  0x300,
                                      0x300,  0x340,  0x590,  0x640,   0x900,  0x9be,  0x1100,
                                      0x1160, 0x11a8, 0x1e00, 0x1f00,  0x2100, 0x3040, 0x3099,
                                      0x3300, 0xac00, 0xf900, 0x1d160, 0xfb00, 0xfdf0, 0xff00};
    for (;;) {
        const uint32_t c = blocks[draw(sizeof blocks / sizeof blocks[0])] + draw(48);
        if (!unicode_is_inert(c)) return c;
    }
}

static void test_normal_forms(void **state)
{
    (void)state;
    static const int options[] = {UTF8PROC_COMPOSE, UTF8PROC_DECOMPOSE, UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
                                  UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    for (int round = 0; round < 20000; round++) {
        char text[256];
        int64_t bytes = 0;
        for (uint32_t i = draw(40); i > 0; i--) bytes += utf8_put(text + bytes, draw_character());
        for (normal_form form = 0; form < NUM_NORMAL_FORMS; form++) {
            utf8proc_uint8_t *want;
            const utf8proc_ssize_t length = utf8proc_map(
                (utf8proc_uint8_t *)text, bytes, &want, (utf8proc_option_t)(UTF8PROC_STABLE | options[form]));
            text_buffer got = {0};
            normal_form_append(form, text, bytes, &got);
            assert_int_equal(got.bytes, length);
            if (length) assert_memory_equal(got.text, want, (size_t)length);
            text_buffer_free(&got);
            free(want);
        }
    }
}

/* A million marks in the wrong order take no time to speak of: the test would not end otherwise. */
static void test_many_marks(void **state)
{
    (void)state;
    enum { PAIRS = 500000 };
    char *text = malloc(1 + 4 * PAIRS);
    assert_non_null(text);
    int64_t bytes = utf8_put(text, 'a');
    for (int i = 0; i < PAIRS; i++) {
        bytes += utf8_put(text + bytes, 0x301); /* above, class 230 */
        bytes += utf8_put(text + bytes, 0x323); /* below, class 220 */
    }
    text_buffer got = {0};
    normal_form_append(NFD, text, bytes, &got);
    assert_int_equal(got.bytes, bytes);
    assert_memory_equal(got.text + 1, "\xcc\xa3\xcc\xa3", 4);
    assert_memory_equal(got.text + 1 + 2 * PAIRS, "\xcc\x81", 2);
    text_buffer_free(&got);
    free(text);
}

/* What is younger than the library's tables stands still and keeps others apart. */
static void test_inert(void **state)
{
    (void)state;
    static const char text[] = "a\xe1\xab\x81\xcc\x81" /* a, U+1AC1 (a mark of Unicode 14), acute */
                               "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0" /* U+11935 U+11930, one since Unicode 13 */
                               "e\xcc\x81\xf0\x9f\xaf\xb0"; /* e, acute, U+1FBF0 (a digit of Unicode 13) */
    text_buffer got = {0};
    normal_form_append(NFKC, text, sizeof text - 1, &got);
    static const char want[] =
        "a\xe1\xab\x81\xcc\x81\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0\xc3\xa9\xf0\x9f\xaf\xb0";
    assert_int_equal(got.bytes, sizeof want - 1);
    assert_memory_equal(got.text, want, sizeof want - 1);
    text_buffer_free(&got);
}

/* ---- classes ------------------------------------------------------------------------------------------- */

static void test_classes(void **state)
{
    (void)state;
    static const uint32_t words[] = {'a',    '_',    '0',    0xe9,   0x301,   0x24b6, 0x1f170,
                                     0x203f, 0x200d, 0x2160, 0x4e00, 0x31350, 0x10d40};
    static const uint32_t others[] = {' ', '-', '.', 0xb2, 0xbd, 0x2019, 0x20ac, 0x3000, 0x1f600};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) assert_true(unicode_is_word(words[i]));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) assert_false(unicode_is_word(others[i]));
    int spaces = 0;
    for (uint32_t c = 0; c < 0x110000; c++) spaces += unicode_is_space(c);
    assert_int_equal(spaces, 25); /* as many as have the property White_Space */
    assert_true(unicode_is_space(0x85) && unicode_is_space(0x3000) && unicode_is_space(0x2029));
    assert_false(unicode_is_space(0x180e) || unicode_is_space(0x200b) || unicode_is_space(0xfeff));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character), cmocka_unit_test(test_every_beginning),
        cmocka_unit_test(test_twins),           cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_many_marks),      cmocka_unit_test(test_inert),
        cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
