/* Added tokens, like <|endoftext|>: recognised in the text before it is split into words. */
#ifndef REMLA_DATA_TOKENIZER_ADDED_TOKENS_H
#define REMLA_DATA_TOKENIZER_ADDED_TOKENS_H
#include "data/tokenizer/normalizer.h"

typedef struct json_t json_t;
typedef struct added_tokens added_tokens; /* immutable: shared by threads */

/* root: the file `path`, whose list "added_tokens" may be missing; vocab: the model's vocabulary. A token
 * that the model has keeps its id; others get the ids from the number of the model's tokens on, as in the
 * library. A warning says when the file's own ids differ. */
status added_tokens_read(added_tokens **out, const json_t *root, const json_t *vocab, const normalizer *n,
                         const char *path, message *why);
void added_tokens_free(added_tokens *a); /* NULL is fine */

int64_t added_tokens_ids(const added_tokens *a); /* the largest id and one; 0 without tokens */
/* Returns the text that an id decodes to, and whether it is special; NULL when the id is not an added
 * token's. */
const char *added_tokens_text(const added_tokens *a, int64_t id, int64_t *bytes, bool *special);
int64_t added_tokens_id(const added_tokens *a, const char *spelled); /* -1: none */

/* The tokens of one kind in one text, left to right. */
typedef enum added_kind {
    ADDED_RAW,
    ADDED_NORMALIZED
} added_kind; /* looked for before and after normalizing */
typedef struct added_search {
    const added_tokens *a;
    added_kind kind;
    const char *text;
    int64_t bytes;
    int64_t from;         /* the place where the search goes on */
    int64_t taken;        /* the end of the last token, with the spaces that it strips */
    int64_t plain, start; /* [plain, start) is the text before the token; it may be empty */
    uint32_t id;
} added_search;

added_search added_tokens_begin(const added_tokens *a, added_kind kind, const char *text, int64_t bytes);
/* Finds the next token; false if there is none: [s->taken, s->bytes) is then the rest. */
bool added_tokens_next(added_search *s);

#endif
