/* What a model folder says about chats: where its template is found, what it is given, which tokens end a
 * text. */
#include "generate/chat_text.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <unistd.h>
#include <jansson.h>
#include <cmocka.h>

static const char *folder; /* with a tokenizer */

static void write_all(const char *tokenizer_config, const char *generation_config)
{
    static const char tokens[] =
        "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}, {\"id\": 2, \"content\": "
        "\"</s>\", \"special\": true}], \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"a\": 0, "
        "\"<s>\": 1, \"</s>\": 2}}, \"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": "
        "\"ByteLevel\"}, {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
        "\"<s>\", "
        "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}]}]}}";
    scratch_text("tokenizer.json", tokens);
    scratch_text("tokenizer_config.json", tokenizer_config);
    scratch_text("generation_config.json", generation_config);
    scratch_text("config.json", "{\"eos_token_id\": 7}");
    unlink(scratch_path("chat_template.jinja"));
    static char path[512];
    strcpy(path, scratch_path("tokenizer.json"));
    *strrchr(path, '/') = 0;
    folder = path;
}

static tokenizer *open_folder(void)
{
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, folder, &why) != OK) fail_msg("%s", why.text);
    return t;
}

static void check_text(const char *wanted)
{
    message why;
    chat_template *c;
    text_buffer out = {0};
    tokenizer *t = open_folder();
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "Hi");
    if (chat_template_of_folder(&c, folder, &why) != OK) fail_msg("%s", why.text);
    assert_non_null(c);
    if (chat_text(c, t, messages, &out, &why) != OK) fail_msg("%s", why.text);
    text_buffer_append(&out, "", 1);
    assert_string_equal(out.text, wanted);
    text_buffer_free(&out);
    json_decref(messages);
    chat_template_close(c);
    tokenizer_close(t);
}

#define TEMPLATE                                                                                             \
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}{% if "                 \
    "add_generation_prompt %}>{% endif %}"

static void places(void **state)
{
    (void)state;
    message why;
    chat_template *c;
    write_all("{\"bos_token\": {\"content\": \"<s>\"}, \"chat_template\": \"" TEMPLATE "\"}", "{}");
    check_text("<s>[user] Hi>");
    write_all("{\"chat_template\": [{\"name\": \"tools\", \"template\": \"x\"}, {\"name\": \"default\", "
              "\"template\": \"y{{ eos_token }}\"}]}",
              "{}");
    check_text("y");
    scratch_text("chat_template.jinja", "file");
    check_text("file");
    write_all("{}", "{}");
    assert_int_equal(chat_template_of_folder(&c, folder, &why), OK);
    assert_null(c);
    write_all("{\"chat_template\": \"{{\"}", "{}");
    assert_int_equal(chat_template_of_folder(&c, folder, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "tokenizer_config.json: chat template, line 1: a tag does not end"));
}

static void ends(void **state)
{
    (void)state;
    message why;
    int32_t end[END_TOKENS];
    int count;
    write_all("{\"eos_token\": \"</s>\"}", "{\"eos_token_id\": [2, 5, 6]}");
    tokenizer *t = open_folder();
    assert_int_equal(tokenizer_first(t), 1);
    assert_int_equal(end_tokens_of_folder(end, &count, folder, t, &why), OK);
    assert_int_equal(count, 4);
    static const int32_t wanted[] = {2, 5, 6, 7};
    assert_memory_equal(end, wanted, sizeof wanted);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(places), cmocka_unit_test(ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
