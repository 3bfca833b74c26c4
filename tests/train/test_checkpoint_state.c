/* state.json that cannot be true is not believed, whatever its hash: numbers that contradict one another, the
 * options beside it or the folder's name, or that would overflow. */
#include "base/file.h"
#include "tests/support/scratch.h"
#include "train/checkpoint_parts.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static message why;

/* T = 32, 8 sequences a step. */
static const char options_yaml[] = "train: { seq_len: 32, batch_tokens: 256, micro_batch: 2 }\n";

/* A folder of this name with this state beside the options. Returns its path, good until the next call. */
static const char *folder_of(const char *name, const char *json)
{
    static char folder[PATH_BYTES];
    char path[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", scratch_path(name));
    assert_int_equal(folder_make(folder, &why), OK);
    assert_int_equal(file_write(path_join(path, folder, "options.yaml"), options_yaml,
                                (int64_t)strlen(options_yaml), NULL, &why),
                     OK);
    assert_int_equal(
        file_write(path_join(path, folder, "state.json"), json, (int64_t)strlen(json), NULL, &why), OK);
    return folder;
}

static const char *numbers(const char *step, const char *position, const char *tokens)
{
    static char text[512];
    snprintf(text, sizeof text,
             "{\"step\": %s, \"position\": %s, \"tokens\": %s, \"data_fingerprint\": \"0123456789abcdef\"}",
             step, position, tokens);
    return text;
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *step, *position, *tokens, *folder, *sentence; /* NULL: all is well */
    } cases[] = {
        {"20", "160", "5120", "step-00000020", NULL},
        {"20", "160", "5120", "step-00000020-copy", NULL},
        {"20", "160", "5120", "best", NULL},
        {"0", "0", "0", "step-00000000", NULL},
        {"20", "160", "5120", "step-00000099", "is of step 20, but its folder is called step-00000099"},
        {"20", "160", "5120", "step-00000019", "is of step 20, but its folder is called step-00000019"},
        {"20", "7", "5120", "step-00000020", "position is 7, but 20 steps of 8 sequences are 160"},
        {"20", "161", "5152", "step-00000020", "position is 161"},
        {"20", "160", "-1", "step-00000020", "tokens is -1, but 160 sequences of 32 tokens are 5120"},
        {"20", "160", "160", "step-00000020", "tokens is 160"},
        {"0", "160", "5120", "x", "position is 160"},
        {"-1", "-8", "-256", "x", "step is -1"},
        {"20", "9223372036854775807", "5120", "x", "position is 9223372036854775807"},
        {"20", "-9223372036854775808", "5120", "x", "position is -9223372036854775808"},
        {"20", "160", "9223372036854775807", "x", "tokens is 9223372036854775807"},
        {"-9223372036854775808", "0", "0", "x", "step is -9223372036854775808"},
        {"9223372036854775807", "-8", "-256", "x", "step is 9223372036854775807"},
        /* 2^63 / 256 steps of 256 tokens: what wraps around to something that fits. */
        {"36028797018963968", "288230376151711744", "-9223372036854775808", "x", "step is 36028797018963968"},
        {"20.0", "160", "5120", "x", "state.json"},
        {"\"20\"", "160", "5120", "x", "state.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *folder =
            folder_of(cases[i].folder, numbers(cases[i].step, cases[i].position, cases[i].tokens));
        const status s = checkpoint_state_verify(folder, &why);
        if (s != (cases[i].sentence ? ERR_INPUT : OK)) fail_msg("case %zu: %d: %s", i, s, why.text);
        if (s != OK && !strstr(why.text, cases[i].sentence)) fail_msg("case %zu: %s", i, why.text);
    }
    /* Slashes at the end do not change the name. */
    char slashes[PATH_BYTES];
    snprintf(slashes, sizeof slashes, "%s//", folder_of("step-00000099", numbers("20", "160", "5120")));
    assert_int_equal(checkpoint_state_verify(slashes, &why), ERR_INPUT);
}

static void read_into(checkpoint_state *got, const char *folder)
{
    options then;
    options_init(&then);
    char path[PATH_BYTES];
    assert_int_equal(options_read_yaml(&then, path_join(path, folder, "options.yaml"), &why), OK);
    if (checkpoint_state_read(folder, &then, got, &why) != OK) fail_msg("%s", why.text);
    options_free(&then);
}

static void test_round_trip(void **state)
{
    (void)state;
    const checkpoint_state s = {.step = 3,
                                .position = 24,
                                .tokens = 768,
                                .fingerprint = 0xfedcba9876543210,
                                .ranks = 4,
                                .threads = 12,
                                .micro_batch = 2,
                                .weights = 1,
                                .moments = UINT64_MAX,
                                .hashed = true};
    checkpoint_state got;
    written_files list = {0};
    const char *folder = folder_of("step-00000003", "");
    assert_int_equal(checkpoint_state_write(folder, &s, &list, &why), OK);
    assert_true(list.count == 1 && !strcmp(list.file[0].name, "state.json"));
    written_free(&list);
    read_into(&got, folder);
    assert_true(got.step == s.step && got.position == s.position && got.tokens == s.tokens);
    assert_true(got.fingerprint == s.fingerprint && got.weights == s.weights && got.moments == s.moments);
    assert_true(got.ranks == s.ranks && got.threads == s.threads && got.micro_batch == s.micro_batch);
    assert_true(got.hashed);
}

/* States from before ranks, threads and hashes were recorded. */
static void test_without_new_keys(void **state)
{
    (void)state;
    checkpoint_state got;
    read_into(&got, folder_of("step-00000003", numbers("3", "24", "768")));
    assert_int_equal(got.fingerprint, 0x0123456789abcdef);
    assert_int_equal(got.ranks, 0);
    assert_int_equal(got.threads, 0);
    assert_int_equal(got.micro_batch, 2);
    assert_false(got.hashed);
}

static void test_other_damage(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "{\"step\": 3, \"position\": 24, \"tokens\": 768}",
        "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": \"0123456789abcde\"}",
        "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": \"0x23456789abcdef\"}",
        "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": \"0123456789abcdef\", \"x\": "
        "1}",
        "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": \"0123456789abcdef\", "
        "\"ranks\": -1}",
        "{\"step\": 3, \"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": "
        "\"0123456789abcdef\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (checkpoint_state_verify(folder_of("step-00000003", texts[i]), &why) == OK)
            fail_msg("taken: %s", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_without_new_keys),
        cmocka_unit_test(test_other_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
