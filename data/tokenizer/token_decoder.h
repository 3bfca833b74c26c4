/* The decoder of a tokenizer.json: it turns the tokens of ids into text. */
#ifndef REMLA_DATA_TOKENIZER_TOKEN_DECODER_H
#define REMLA_DATA_TOKENIZER_TOKEN_DECODER_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"

typedef struct json_t json_t;
typedef struct token_decoder token_decoder; /* immutable: shared by threads */

/* value: that of the key "decoder" of the file `path`; NULL and null join tokens with spaces. Supported:
 * ByteLevel, ByteFallback, Fuse, Metaspace, Replace (of a text), Strip, and a Sequence of these. */
status token_decoder_read(token_decoder **out, const json_t *value, const char *path, message *why);
void token_decoder_free(token_decoder *d); /* NULL is fine */

/* Texts behind one another. Starts as {0}; the owner frees. */
typedef struct pieces {
    text_buffer text;
    int64_t *end; /* of each */
    int64_t count, capacity;
} pieces;
void pieces_add(pieces *p, const char *text, int64_t bytes);
void pieces_free(pieces *p);

/* Appends the text of the tokens, which are spelled as in the file. Consumes `tokens`. A text that would grow
 * beyond text_buffer_growth_limit (data/tokenizer/text_buffer.h) is an ERR_INPUT. */
status token_decoder_run(const token_decoder *d, pieces *tokens, text_buffer *out, message *why);

#endif
