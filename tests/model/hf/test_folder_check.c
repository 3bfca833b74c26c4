/* What people give for a model folder, and the remedy that they are told. */
#include "model/hf/folder_check.h"
#include "base/file.h"
#include "model/hf/config.h"
#include "tests/support/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static message why;

/* FOLDER/NAME under the scratch folder, with this text; folders are made. Returns the folder. */
static const char *made(const char *folder, const char *name, const char *text)
{
    char path[PATH_BYTES];
    const char *at = scratch_path(folder);
    if (folder_make(at, &why) != OK ||
        file_write(path_join(path, at, name), text, (int64_t)strlen(text), NULL, &why) != OK)
        fail_msg("%s", why.text);
    return at;
}

static void says(status (*check)(const char *, message *), const char *path, const char *words)
{
    why.text[0] = 0;
    if (check(path, &why) != ERR_INPUT) fail_msg("accepted: %s", path);
    if (strncmp(why.text, path, strlen(path)) != 0) fail_msg("'%s' does not begin with %s", why.text, path);
    if (!strstr(why.text, words)) fail_msg("'%s' does not say '%s'", why.text, words);
}

static status read_config(const char *path, message *reason)
{
    model_config c;
    return config_read(&c, path, reason);
}

/* Of models and of tokenizers. */
static void both_say(const char *path, const char *words)
{
    says(model_path_check, path, words);
    says(model_folder_check, path, words);
    says(read_config, path, words);
}

static void what_is_not_there(void **state)
{
    (void)state;
    const char *const hub = "hf download Qwen/Qwen2.5-0.5B --local-dir DIR";
    both_say("Qwen/Qwen2.5-0.5B", hub);
    static const char *const paths[] = {"nowhere", "/no/where", "./no",  "no/such/folder",
                                        "no/",     "/no",       "n o/x", ""};
    for (int i = 0; i < 8; i++) {
        both_say(paths[i], ": there is no such folder, expected that of a model");
        assert_null(strstr(why.text, "hf download"));
    }
}

static void names_mistyped(void **state)
{
    (void)state;
    char want[PATH_BYTES];
    made("llama", "config.json", "{}");
    assert_true(snprintf(want, sizeof want, "there is no such folder; did you mean %s?",
                         scratch_path("llama")) < PATH_BYTES);
    both_say(scratch_path("lama"), want);
    both_say(scratch_path("other"), ": there is no such folder, expected that of a model");
}

static void files(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    path_join(path, made("files", "any.bin", "GGUF\3\0\0\0"), "any.bin");
    both_say(path, "is a GGUF file; make a model folder of it, if it is a llama: scripts/gguf_to_folder.py ");
    made("files", "tokenizer.json", "{}");
    path_join(path, scratch_path("files"), "tokenizer.json");
    says(model_folder_check, path, "is a file, expected a model folder: one with config.json");
    assert_int_equal(model_path_check(path, &why), OK); /* a tokenizer may be read from it */
    made("files", "GG", "GG");
    path_join(path, scratch_path("files"), "GG");
    says(model_folder_check, path, "is a file, expected a model folder");
}

static void runs(void **state)
{
    (void)state;
    const char *run = made("run", "config.yaml", "");
    assert_int_equal(model_folder_check(run, &why), OK); /* config_read says that it has no config.json */
    made("run/checkpoints/step-00000009", "config.json", "{}");
    made("run/checkpoints/step-00000012", "config.json", "{}");
    made("run/checkpoints/step-00000013.tmp", "config.json", "{}");
    made("run/checkpoints/step-00000014", "state.json", "{}");
    made("run/checkpoints/copy", "config.json", "{}");
    both_say(run, "is the folder of a training run; its newest model is ");
    const char *const end = "/run/checkpoints/step-00000012";
    assert_string_equal(why.text + strlen(why.text) - strlen(end), end);
    made("run", "config.json", "{}");
    assert_int_equal(model_folder_check(run, &why), OK);
}

static void weights(void **state)
{
    (void)state;
    static const struct {
        const char *file, *words;
    } cases[] = {
        {"adapter_config.json",
         "holds an adapter (adapter_config.json), not a model; merge it into its base"},
        {"pytorch_model.bin", "save_pretrained(\"DIR\", safe_serialization=True)"},
        {"pytorch_model.bin.index.json", "holds pytorch_model.bin, expected *.safetensors"},
        {"Model-Q4_K_M.gguf", "/Model-Q4_K_M.gguf: is a GGUF file; make a model folder of it, if it is a "
                              "llama: scripts/gguf_to_folder.py "},
    };
    for (int i = 0; i < 4; i++) {
        char folder[16];
        snprintf(folder, sizeof folder, "weights-%d", i);
        const char *path = made(folder, cases[i].file, "");
        says(model_folder_check, path, cases[i].words);
        made(folder, "config.json", "{}");
        says(read_config, path, cases[i].words);
        assert_int_equal(model_path_check(path, &why), OK); /* its tokenizer can be read */
        made(folder, "model.safetensors", "");
        assert_int_equal(model_folder_check(path, &why), OK);
    }
    assert_int_equal(model_folder_check(made("sharded", "pytorch_model.bin", ""), &why), ERR_INPUT);
    assert_int_equal(model_folder_check(made("sharded", "model.safetensors.index.json", ""), &why), OK);
}

/* A path of the greatest length still gives whole sentences. */
static void long_paths(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    memset(path, 'x', sizeof path);
    path[sizeof path - 40] = 0;
    assert_int_equal(model_folder_check(path, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, ": there is no such folder, expected that of a model"));
    path[100] = '/';
    assert_int_equal(model_folder_check(path, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "--local-dir DIR, then give DIR"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_there),
        cmocka_unit_test(names_mistyped),
        cmocka_unit_test(files),
        cmocka_unit_test(runs),
        cmocka_unit_test(weights),
        cmocka_unit_test(long_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
