/* The pre-tokenizer of a tokenizer.json: it splits normalized text into the words that the model encodes. */
#ifndef REMLA_DATA_TOKENIZER_PRETOKENIZER_H
#define REMLA_DATA_TOKENIZER_PRETOKENIZER_H
#include "data/tokenizer/bpe.h"

typedef struct pretokenizer pretokenizer; /* immutable: shared by threads */

/* value: that of the key "pre_tokenizer" of the file `path`; NULL and null leave the text whole. Supported:
 * ByteLevel (at the end), Split, Digits, Metaspace, and a Sequence of these. */
status pretokenizer_read(pretokenizer **out, const json_t *value, const char *path, message *why);
void pretokenizer_free(pretokenizer *p); /* NULL is fine */

bool pretokenizer_is_byte_level(const pretokenizer *p); /* words are bytes, not characters */

/* The state of one thread. */
typedef struct pretokenizer_work pretokenizer_work;
pretokenizer_work *pretokenizer_work_new(const pretokenizer *p);
void pretokenizer_work_free(pretokenizer_work *w); /* NULL is fine */

/* Splits a UTF-8 text and passes each word to the model, which appends to `out`. first: the text is at the
 * very beginning of what is encoded. */
status pretokenizer_run(pretokenizer_work *w, const char *text, int64_t bytes, bool first, bpe_work *model,
                        token_list *out, message *why);

#endif
