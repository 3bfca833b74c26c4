/* state.json that cannot be true is not believed, whatever its hash: numbers that contradict one another, the
 * options beside it or the folder's name, or that would overflow. */
#include "base/file.h"
#include "tests/support/scratch.h"
#include "train/checkpoint_parts.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
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
                                .position = 64,
                                .tokens = 768,
                                .fingerprint = 0xfedcba9876543210,
                                .ranks = 4,
                                .threads = 12,
                                .micro_batch = 2,
                                .passed = {{1, 8, 16, "loss 21.5"}, {1, 16, 32, "loss 9"}, {3, 48, 64, ""}},
                                .passes = 3,
                                .far = true,
                                .weights = 1,
                                .masters = 2,
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
    assert_true(got.fingerprint == s.fingerprint && got.weights == s.weights && got.masters == s.masters &&
                got.moments == s.moments);
    assert_true(got.passes == 3 && got.far);
    for (int i = 0; i < 3; i++) {
        assert_true(got.passed[i].step == s.passed[i].step && got.passed[i].from == s.passed[i].from &&
                    got.passed[i].to == s.passed[i].to);
        assert_string_equal(got.passed[i].why, s.passed[i].why);
    }
    assert_true(got.ranks == s.ranks && got.threads == s.threads && got.micro_batch == s.micro_batch);
    assert_true(got.hashed);
}

/* What is not there is not written: a run that has not gone back writes what it always wrote. */
static void test_keys(void **state)
{
    (void)state;
    const checkpoint_state plain = {.step = 3, .position = 24, .tokens = 768};
    const char *folder = folder_of("step-00000003", "");
    char path[PATH_BYTES], *text;
    int64_t bytes;
    assert_int_equal(checkpoint_state_write(folder, &plain, NULL, &why), OK);
    assert_int_equal(file_read_text(path_join(path, folder, "state.json"), 1000, &text, &bytes, &why), OK);
    static const char *const absent[] = {"passed_over", "far", "weights", "masters", "moments"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) assert_null(strstr(text, absent[i]));
    free(text);
}

/* States from before ranks, threads and hashes were recorded, and from before hashes were fingerprints. */
static void test_old_keys(void **state)
{
    (void)state;
    checkpoint_state got;
    read_into(&got, folder_of("step-00000003", numbers("3", "24", "768")));
    assert_int_equal(got.fingerprint, 0x0123456789abcdef);
    assert_int_equal(got.ranks, 0);
    assert_int_equal(got.threads, 0);
    assert_int_equal(got.micro_batch, 2);
    assert_int_equal(got.passes, 0);
    assert_false(got.hashed || got.far);
    read_into(&got, folder_of("step-00000003",
                              "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": "
                              "\"0123456789abcdef\", \"weights_xxh3_64\": \"0123456789abcdef\", "
                              "\"moments_xxh3_64\": \"0123456789abcdef\", \"ranks\": 1, \"threads\": 2}"));
    assert_false(got.hashed);
    assert_int_equal(got.threads, 2);
}

/* 20 steps of 8 sequences. */
static void test_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *position, *passed, *sentence; /* NULL: all is well */
    } cases[] = {
        {"160", "[]", NULL},
        {"224", "[{\"step\": 10, \"from\": 80, \"to\": 144, \"why\": \"w\"}]", NULL},
        {"161", "[{\"step\": 20, \"from\": 160, \"to\": 161, \"why\": \"\"}]", NULL},
        {"160", "[{\"step\": 10, \"from\": 80, \"to\": 144, \"why\": \"w\"}]",
         "position is 160, but 20 steps of 8 sequences and 64 passed over are 224"},
        {"224", "[{\"step\": 10, \"from\": 88, \"to\": 152, \"why\": \"w\"}]",
         "from position 88, but 10 steps of 8 sequences and what was passed over before lead to 80"},
        {"224", "[{\"step\": 21, \"from\": 168, \"to\": 232, \"why\": \"w\"}]",
         "after step 21, expected 0 to 20"},
        {"224", "[{\"step\": -1, \"from\": -8, \"to\": 56, \"why\": \"w\"}]", "after step -1"},
        {"160", "[{\"step\": 10, \"from\": 80, \"to\": 80, \"why\": \"w\"}]", "to 80, expected 81"},
        {"96", "[{\"step\": 10, \"from\": 80, \"to\": 16, \"why\": \"w\"}]", "to 16, expected 81"},
        {"-9223372036854775729",
         "[{\"step\": 10, \"from\": 80, \"to\": 9223372036854775807, \"why\": \"w\"}]", "expected 81"},
        {"232",
         "[{\"step\": 10, \"from\": 80, \"to\": 144, \"why\": \"w\"}, {\"step\": 10, \"from\": 144, \"to\": "
         "152, \"why\": \"w\"}]",
         NULL},
        {"232",
         "[{\"step\": 10, \"from\": 80, \"to\": 144, \"why\": \"w\"}, {\"step\": 9, \"from\": 136, \"to\": "
         "144, \"why\": \"w\"}]",
         "passed_over 1 is after step 9, expected 10 to 20"},
        {"224", "[{\"step\": 10, \"from\": 80, \"to\": 144}]", "passed_over 0"},
        {"224", "[{\"step\": 10, \"from\": 80, \"to\": 144, \"why\": \"w\", \"x\": 1}]", "passed_over 0"},
        {"224", "[{\"step\": 10, \"from\": 80, \"to\": 144.0, \"why\": \"w\"}]", "passed_over 0"},
        {"160", "{}", "not an array of at most 16 objects"},
        {"160", "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "not an array of at most 16 objects"},
        {"161",
         "[{\"step\": 20, \"from\": 160, \"to\": 161, \"why\": "
         "\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
         "789"
         "0123456789012345678901234567\"}]",
         "why has 128 bytes, expected fewer than 128"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"step\": 20, \"position\": %s, \"tokens\": 5120, \"data_fingerprint\": "
                 "\"0123456789abcdef\", \"passed_over\": %s}",
                 cases[i].position, cases[i].passed);
        const status s = checkpoint_state_verify(folder_of("step-00000020", text), &why);
        if (s != (cases[i].sentence ? ERR_INPUT : OK)) fail_msg("case %zu: %d: %s", i, s, why.text);
        if (s != OK && !strstr(why.text, cases[i].sentence)) fail_msg("case %zu: %s", i, why.text);
    }
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
        "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": \"0123456789abcdef\", "
        "\"masters_fingerprint\": \"x\"}",
        "{\"step\": 3, \"position\": 24, \"tokens\": 768, \"data_fingerprint\": \"0123456789abcdef\", "
        "\"far\": 1}",
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
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_old_keys),
        cmocka_unit_test(test_passed_over), cmocka_unit_test(test_other_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
