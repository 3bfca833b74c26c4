/* Turns a conversation into the text that a model continues, and finds the tokens that end its answer. Both
 * follow what the model folder says. */
#ifndef REMLA_GENERATE_CHAT_TEXT_H
#define REMLA_GENERATE_CHAT_TEXT_H
#include "data/tokenizer/tokenizer.h"
#include "generate/chat_template/chat_template.h"

/* Opens the template of FOLDER: chat_template.jinja, or chat_template of tokenizer_config.json (of several
 * with names, "default"). *out is NULL where there is none. ERR_INPUT names the file. */
status chat_template_of_folder(chat_template **out, const char *folder, message *why);

/* A message of a conversation, {"role": .., "content": ..}; NULL: the text is not UTF-8. Owned by
 * the caller. */
json_t *chat_message(const char *role, const char *text, int64_t bytes);

/* Appends the text after which the model answers. messages: [{"role": "user", "content": ".."}, ..]. The
 * template also gets the texts of bos_token, eos_token and pad_token, and the local time. ERR_INPUT when it
 * refuses the messages. */
status chat_text(const chat_template *c, const tokenizer *t, json_t *messages, text_buffer *out,
                 message *why);

/* Tokens that end a text: tokenizer_eos, and eos_token_id, one or a list, of generation_config.json and
 * config.json. Writes END_TOKENS at most, each once; *count of them. */
enum { END_TOKENS = 16 };
status end_tokens_of_folder(int32_t out[END_TOKENS], int *count, const char *folder, const tokenizer *t,
                            message *why);

#endif
