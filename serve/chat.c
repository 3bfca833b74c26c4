/* The messages as the JSON that templates expect. */
#include "serve/chat.h"
#include "base/memory.h"
#include "generate/chat_text.h"
#include <jansson.h>

static json_t *message_json(const request_message *m)
{
    json_t *content = json_stringn(m->content.bytes ? m->content.text : "", (size_t)m->content.bytes);
    return memory_check(json_pack("{s:s,s:o}", "role", m->role, "content", content), "a chat");
}

status chat_render(const served_model *m, const completion_request *q, text_buffer *out, message *why)
{
    if (!m->chat) return fail(why, ERR_INPUT, "%s has no chat template; use /v1/completions", m->name);
    json_t *messages = json_array();
    for (int64_t i = 0; i < q->messages; i++) json_array_append_new(messages, message_json(&q->message[i]));
    const status s = chat_text(m->chat, m->tokenizer, messages, out, why);
    json_decref(messages);
    return s;
}
