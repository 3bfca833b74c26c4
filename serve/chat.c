/* Asks the model's chat template. */
#include "serve/chat.h"

status chat_render(const served_model *m, const completion_request *q, text_buffer *out, message *why)
{
    if (!m->chat) return fail(why, ERR_INPUT, "%s has no chat template; use /v1/completions", m->name);
    for (int64_t i = 0; i < q->messages; i++) {
        text_buffer_append(out, q->message[i].role, (int64_t)__builtin_strlen(q->message[i].role));
        text_buffer_append(out, q->message[i].content.text, q->message[i].content.bytes);
    }
    return OK;
}
