/* A chat template: it comes with a model, and is a program. Whatever it says, it ends, within its limits. */
#include "generate/chat_template/chat_template.h"
#include "tests/fuzz/fuzz.h"
#include <jansson.h>

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \" Be brief. \"}, {\"role\": \"user\", \"content\": "
    "\"h\xc3\xa9llo <think>\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"abcdefghi\", \"function\": "
    "{\"name\": \"f\", \"arguments\": "
    "{\"a\": 1.5}}}]}, {\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"x\"}]}], "
    "\"tools\": [{\"type\": \"function\"}],"
    "\"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    chat_template *t;
    message why;
    text_buffer out = {0};
    if (chat_template_open(&t, (const char *)data, (int64_t)size, &why) != OK) return 0;
    json_t *variables = json_loads(conversation, 0, NULL);
    chat_template_render(t, variables, 0, &out, &why);
    text_buffer_free(&out);
    json_decref(variables);
    chat_template_close(t);
    return 0;
}
