/* Stop strings are found wherever the text is cut, and what is shown is what is before the first, however it
 * is cut; nothing is held back that cannot become one. */
#include "generate/stop_strings.h"
#include "tests/support/draw.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char *const stops[] = {"abab", "c\n\n", "b"};

/* Feeds the text in pieces; returns the stop string. */
static int feed(const char *text, int count, uint64_t *seed, text_buffer *out)
{
    stop_strings s;
    stop_strings_init(&s, stops, count);
    int stop = -1;
    const int64_t bytes = (int64_t)strlen(text);
    for (int64_t at = 0, n; at < bytes && stop < 0; at += n) {
        n = seed ? draw_below(seed, 4) : bytes;
        if (n > bytes - at) n = bytes - at;
        stop = stop_strings_push(&s, text + at, n, out);
    }
    if (stop < 0) stop = stop_strings_end(&s, out);
    stop_strings_free(&s);
    text_buffer_append(out, "", 1);
    return stop;
}

static void any_cut(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        char text[40] = {0};
        const int length = (int)draw_below(&seed, 30), count = 1 + (int)draw_below(&seed, 3);
        for (int i = 0; i < length; i++) text[i] = "aabbc\n\nx"[draw_below(&seed, 8)];
        /* by hand: the stop string that begins first, and of those the first of the list */
        int wanted = -1;
        const char *first = text + length;
        for (int i = 0; i < count; i++) {
            const char *found = strstr(text, stops[i]);
            if (found && found < first) first = found, wanted = i;
        }
        text_buffer out = {0};
        assert_int_equal(feed(text, count, round % 2 ? &seed : NULL, &out), wanted);
        assert_int_equal(out.bytes - 1, first - text);
        assert_memory_equal(out.text, text, (size_t)(out.bytes - 1));
        text_buffer_free(&out);
    }
}

static void holds_back_what_may_become_one(void **state)
{
    (void)state;
    stop_strings s;
    text_buffer out = {0};
    stop_strings_init(&s, stops, 2);
    assert_int_equal(stop_strings_push(&s, "xaba", 4, &out), -1);
    assert_int_equal(out.bytes, 1); /* aba may become abab */
    assert_int_equal(stop_strings_push(&s, "c", 1, &out), -1);
    assert_int_equal(out.bytes, 4); /* only the c may become c, end, end */
    assert_int_equal(stop_strings_push(&s, "\n\nz", 3, &out), 1);
    assert_int_equal(out.bytes, 4);
    text_buffer_free(&out);
    stop_strings_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_cut),
                                       cmocka_unit_test(holds_back_what_may_become_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
