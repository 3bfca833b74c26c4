/* Hands the messages to the model's chat template, with the variables that transformers gives it. */
#include "serve/chat.h"
#include "base/memory.h"
#include "generate/chat_template/chat_template.h"
#include <jansson.h>

static json_t *text_json(const text_buffer *text)
{
    return memory_check(json_stringn(text->bytes ? text->text : "", (size_t)text->bytes), "a chat");
}

static void set_special(json_t *variables, const char *name, const tokenizer *t, int64_t id)
{
    text_buffer text = {0};
    if (prompt_special_text(t, id, &text)) json_object_set_new(variables, name, text_json(&text));
    text_buffer_free(&text);
}

static json_t *messages_json(const completion_request *q)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < q->messages; i++)
        json_array_append_new(list, json_pack("{s:s,s:o}", "role", q->message[i].role, "content",
                                              text_json(&q->message[i].content)));
    return list;
}

status chat_render(const served_model *m, const completion_request *q, text_buffer *out, message *why)
{
    if (!m->chat) return fail(why, ERR_INPUT, "%s has no chat template; use /v1/completions", m->name);
    json_t *variables = json_pack("{s:o,s:b}", "messages", messages_json(q), "add_generation_prompt", 1);
    memory_check(variables, "a chat");
    set_special(variables, "bos_token", m->tokenizer, tokenizer_bos(m->tokenizer));
    set_special(variables, "eos_token", m->tokenizer, tokenizer_eos(m->tokenizer));
    set_special(variables, "pad_token", m->tokenizer, tokenizer_pad(m->tokenizer));
    const status s = chat_template_render(m->chat, variables, time(NULL), out, why);
    json_decref(variables);
    return s;
}
