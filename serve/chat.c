/* The messages as the JSON that templates expect. */
#include "serve/chat.h"
#include "generate/chat_text.h"
#include <jansson.h>

status chat_render(const served_model *m, const completion_request *q, text_buffer *out, message *why)
{
    if (!m->chat) return fail(why, ERR_INPUT, "%s has no chat template; use /v1/completions", m->name);
    json_t *messages = json_array();
    for (int64_t i = 0; i < q->messages; i++) {
        const request_message *said = &q->message[i]; /* of a JSON body, so it is UTF-8 */
        json_array_append_new(messages, chat_message(said->role, said->content.text, said->content.bytes));
    }
    const status s = chat_text(m->chat, m->tokenizer, messages, out, why);
    json_decref(messages);
    return s;
}
