/* Chat templates: what turns the messages of a conversation into the text that a model was trained on. They
 * are programs in Jinja that come with a model; this runs the part of Jinja that they use (docs/GENERATE.md
 * lists it) as transformers does (utils/chat_template_utils.py): trim_blocks and lstrip_blocks, a tojson of
 * its own, raise_exception, strftime_now, break and continue. What is not known is a sentence with its line.
 *
 * A template is not trusted: depth, steps and sizes have limits (template_run.h). */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_CHAT_TEMPLATE_H
#define REMLA_GENERATE_CHAT_TEMPLATE_CHAT_TEMPLATE_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"
#include <time.h>

typedef struct json_t json_t;
typedef struct chat_template chat_template; /* does not change after it is opened: threads share it */

/* ERR_INPUT: "chat template, line 3: ..."; *out is NULL then. */
status chat_template_open(chat_template **out, const char *source, int64_t bytes, message *why);
void chat_template_close(chat_template *t); /* NULL is fine */

/* Returns the text that it was opened with; borrowed, zero-terminated. */
const char *chat_template_source(const chat_template *t);

/* Appends the text for these variables, a JSON object ("messages", "add_generation_prompt", "bos_token",
 * ...), which stays as it is. now: what strftime_now prints, in local time. ERR_INPUT when the template
 * refuses them or goes wrong; `out` is then as it was. */
status chat_template_render(const chat_template *t, json_t *variables, time_t now, text_buffer *out,
                            message *why);

#endif
