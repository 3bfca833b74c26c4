/* The model of a tokenizer.json: byte pair encoding. A word begins as one symbol per character (or byte). The
 * pair whose merge comes first in the file's list, leftmost first, is merged until there is none. */
#ifndef REMLA_DATA_TOKENIZER_BPE_H
#define REMLA_DATA_TOKENIZER_BPE_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"

typedef struct json_t json_t;
typedef struct bpe bpe; /* immutable: shared by threads */

/* model: the object "model" of the file `path`, whose size bounds the ids. byte_level: words are raw bytes
 * and the file's tokens spell them in GPT-2's alphabet of 256 letters. */
status bpe_read(bpe **out, const json_t *model, int64_t file_bytes, bool byte_level, const char *path,
                message *why);
void bpe_free(bpe *b); /* NULL is fine */

int64_t bpe_ids(const bpe *b); /* the largest id and one */
/* Returns a token as the file spells it, and its bytes; NULL for an id without a token. */
const char *bpe_spelling(const bpe *b, int64_t id, int64_t *bytes);

int64_t bpe_id(const bpe *b, const char *spelled, int64_t bytes); /* -1: there is no such token. Slow. */

/* The state of one thread: a word in progress and a cache of words, in bounded memory. */
typedef struct bpe_work bpe_work;
bpe_work *bpe_work_new(const bpe *b);
void bpe_work_free(bpe_work *w); /* NULL is fine */

/* Appends the ids of a word, which is UTF-8. */
status bpe_encode(bpe_work *w, const char *word, int64_t bytes, token_list *out, message *why);

#endif
