/* What cannot be converted is refused with a sentence that says what would work. */
#include "tests/model/convert/tiny_gqa.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void refuses(convert_settings settings, const char *text)
{
    message why = {""};
    if (!settings.rope) settings.rope = 4;
    if (!settings.rank) settings.rank = 12;
    assert_int_equal(convert_check(&plain, &settings, &why), ERR_USAGE);
    if (!strstr(why.text, text)) fail_msg("\"%s\" does not say \"%s\"", why.text, text);
}

static void impossible_settings_are_refused(void **state)
{
    (void)state;
    message why;
    refuses((convert_settings){.rope = 64}, "convert.qk_rope_head_dim=64");
    refuses((convert_settings){.rope = 64}, "nearest that does: 8");
    refuses((convert_settings){.rope = 5}, "4 or 8");
    refuses((convert_settings){.rank = 29}, "from 1 to 28");
    refuses((convert_settings){.rank = 1, .latent_norm = true}, "from 2 to 28");
    refuses((convert_settings){.q_rank = 33}, "from 1 to 32");
    refuses((convert_settings){.freqfold = 3}, "one of 2, 4, or auto");
    refuses((convert_settings){.freqfold = 1}, "convert.freqfold=1");
    assert_int_equal(
        convert_check(&plain, &(convert_settings){.rope = 4, .rank = 28, .q_rank = 32, .freqfold = 4}, &why),
        OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(impossible_settings_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
