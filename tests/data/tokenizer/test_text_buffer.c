/* Texts that grow: a printed one is whole, however long, and stands behind what is there. */
#include "tests/support/check.h"
#include "data/tokenizer/text_buffer.h"
#include <string.h>

static void test_print(void **state)
{
    (void)state;
    text_buffer text = {0};
    char long_word[3000];
    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = 0;
    text_buffer_print(&text, "%s", "");
    assert_int_equal(text.bytes, 0);
    text_buffer_print(&text, "%d%c", 7, 'a');
    text_buffer_print(&text, "%s.", long_word);
    assert_int_equal(text.bytes, 2 + 2999 + 1);
    assert_memory_equal(text.text, "7ax", 3);
    assert_memory_equal(text.text + 3000, "x.", 2);
    text_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_print)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
