/* The tokenizer of a model folder: tokenizer.json as Hugging Face's library `tokenizers` reads it, BPE over
 * bytes (GPT-2, Llama-3, Qwen2, DeepSeek) or over characters with byte fallback (Llama-2, Mistral). Ids and
 * decoded text are the library's. The file's post-processing, truncation and padding are not applied: nothing
 * is added to a text and nothing cut from it. */
#ifndef REMLA_DATA_TOKENIZER_TOKENIZER_H
#define REMLA_DATA_TOKENIZER_TOKENIZER_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"
#include <stdbool.h>
#include <stdint.h>

/* Does not change after it is opened: threads share it. */
typedef struct tokenizer tokenizer;

/* path: a model folder or a tokenizer.json. A file that is malformed, or needs an unsupported feature, is an
 * ERR_INPUT that names it. On failure *t is NULL. */
status tokenizer_open(tokenizer **t, const char *path, message *why);
void tokenizer_close(tokenizer *t); /* NULL is fine */

/* Ids are below this: the largest id of the file, added tokens included, and one. Models often pad theirs. */
int64_t tokenizer_vocabulary(const tokenizer *t);
/* The id of a token as the file spells it ("<|endoftext|>"); -1 when there is none. */
int64_t tokenizer_id(const tokenizer *t, const char *token);
/* The special ids that the folder names in tokenizer_config.json, generation_config.json or config.json; -1
 * where none does. */
int64_t tokenizer_eos(const tokenizer *t);
int64_t tokenizer_bos(const tokenizer *t);
int64_t tokenizer_pad(const tokenizer *t);
/* Appends the text of such an id. Returns false when the id is -1 or the file does not have it. */
bool tokenizer_special_text(const tokenizer *t, int64_t id, text_buffer *out);
/* The token that transformers put before a text that is not a chat (post_processor, or add_bos_token of
 * tokenizer_config.json: <s> for Llama), which tokenizer_encode does not; -1: none. */
int64_t tokenizer_first(const tokenizer *t);
const char *tokenizer_name(const tokenizer *t);   /* the name of the folder, for reading; never empty */
const char *tokenizer_sha256(const tokenizer *t); /* of tokenizer.json, 64 lower-case hexadecimal digits */

/* The state of one thread that encodes: scratch memory and a cache of words. Borrows t, which must
 * outlive it. Results do not depend on what it encoded before. */
typedef struct tokenizer_work tokenizer_work;
tokenizer_work *tokenizer_work_new(const tokenizer *t);
void tokenizer_work_free(tokenizer_work *w); /* NULL is fine */

/* Appends the ids of `text`, which may hold any character, zero bytes too. Tokens like <|endoftext|> are
 * recognised where the file says so. A character that the vocabulary cannot express becomes the unknown
 * token, or nothing if the file names none. ERR_INPUT when the text is not UTF-8 (the sentence names the
 * byte, counted from 0) or cannot be split within the limits; `out` is then as it was. */
status tokenizer_encode(tokenizer_work *w, const char *text, int64_t bytes, token_list *out, message *why);

/* Appends the text of ids. Bytes that do not make a character become U+FFFD, as in the library. Special
 * tokens are spelled out, or left out when skip_special. An id that the file does not have is an ERR_INPUT;
 * `out` is then as it was. Threads may share t. */
status tokenizer_decode(const tokenizer *t, const uint32_t *id, int64_t count, bool skip_special,
                        text_buffer *out, message *why);

#endif
