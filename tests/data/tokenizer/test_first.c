/* The token before a text: what a post_processor and tokenizer_config.json say. */
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include "base/file.h"
#include "base/json_text.h"
#include "data/tokenizer/tokenizer.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The golden tokenizer with another post_processor and tokenizer_config.json. */
static int64_t prefix_with(const char *post_processor, const char *config)
{
    char path[PATH_BYTES], folder[PATH_BYTES];
    json_t *root;
    message why;
    tokenizer *t;
    path_join(path, getenv("REMLA_SOURCE") ? getenv("REMLA_SOURCE") : ".",
              "tests/golden/eval/tokenizer.json");
    if (json_text_read(&root, path, 1 << 20, &why) != OK) fail_msg("%s", why.text);
    json_object_set_new(root, "post_processor", json_loads(post_processor, JSON_DECODE_ANY, NULL));
    snprintf(folder, sizeof folder, "%s", scratch_path("front"));
    if (folder_make(folder, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(
        json_text_write(root, JSON_COMPACT, path_join(path, folder, "tokenizer.json"), NULL, &why), OK);
    path_join(path, folder, "tokenizer_config.json");
    assert_int_equal(file_write(path, config, (int64_t)strlen(config), NULL, &why), OK);
    if (tokenizer_open(&t, folder, &why) != OK) fail_msg("%s", why.text);
    const int64_t id = tokenizer_first(t);
    tokenizer_close(t);
    return id;
}

#define TEMPLATE                                                                                             \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<|endoftext|>\", "        \
    "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}]}"
#define BEHIND                                                                                               \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "      \
    "{\"SpecialToken\": {\"id\": \"<|endoftext|>\", \"type_id\": 0}}]}"
#define LEVEL "{\"type\": \"ByteLevel\"}"

static void prefixes(void **state)
{
    (void)state;
    assert_int_equal(prefix_with("null", "{}"), -1);
    assert_int_equal(prefix_with(LEVEL, "{\"bos_token\": \"<|endoftext|>\"}"), -1);
    assert_int_equal(prefix_with(TEMPLATE, "{}"), 95);
    assert_int_equal(prefix_with(BEHIND, "{}"), -1);
    assert_int_equal(prefix_with("{\"type\": \"Sequence\", \"processors\": [" LEVEL ", " TEMPLATE "]}", "{}"),
                     95);
    assert_int_equal(prefix_with(TEMPLATE, "{\"add_bos_token\": false}"), -1);
    assert_int_equal(prefix_with(LEVEL, "{\"add_bos_token\": true, \"bos_token\": {\"content\": \"!\"}}"), 2);
    assert_int_equal(prefix_with(TEMPLATE, "{\"add_bos_token\": true}"), 95);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(prefixes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
