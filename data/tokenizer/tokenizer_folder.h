/* Where a tokenizer.json lies, and what the files beside it say of special tokens. */
#ifndef REMLA_DATA_TOKENIZER_TOKENIZER_FOLDER_H
#define REMLA_DATA_TOKENIZER_TOKENIZER_FOLDER_H
#include "base/file.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct tokenizer_folder {
    char folder[PATH_BYTES];
    char tokenizer[PATH_BYTES]; /* the file */
    char name[128];             /* the folder's own, for people */
} tokenizer_folder;

/* path: a folder with a tokenizer.json, or the file itself, whatever its name. */
status tokenizer_folder_find(tokenizer_folder *f, const char *path, message *why);

/* Where the files say which token is "eos", "bos" or "pad", the first that counts coming first:
 * tokenizer_config.json's KIND_token, KIND_token_id (the first of a list) of generation_config.json and that
 * of config.json. */
enum { SPECIAL_PLACES = 3 };

/* What one of these places says. */
typedef struct special_token {
    char *text; /* as the file spells it, or NULL; the caller frees it */
    int64_t id; /* -1: none, or a text */
} special_token;

status tokenizer_folder_special(const tokenizer_folder *f, int place, const char *kind, special_token *out,
                                message *why);

#endif
