/* The normalizer of a tokenizer.json: it changes the text between added tokens before the text is split. */
#ifndef REMLA_DATA_TOKENIZER_NORMALIZER_H
#define REMLA_DATA_TOKENIZER_NORMALIZER_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"

typedef struct json_t json_t;
typedef struct normalizer normalizer; /* immutable: shared by threads */

/* value: that of the key "normalizer" of the file `path`; NULL and null do nothing. Supported: NFC, NFD,
 * NFKC, NFKD, Prepend, Replace (of a text), and a Sequence of these. */
status normalizer_read(normalizer **out, const json_t *value, const char *path, message *why);
void normalizer_free(normalizer *n); /* NULL is fine */

bool normalizer_is_identity(const normalizer *n);
/* Appends the normalized text. A text that would grow beyond text_buffer_growth_limit
 * (data/tokenizer/text_buffer.h) is an ERR_INPUT, and `out` is then not what it was. */
status normalizer_run(const normalizer *n, const char *text, int64_t bytes, text_buffer *out, message *why);

#endif
