/* Finds a tokenizer.json, and the special tokens that the files beside it name. */
#ifndef REMLA_DATA_TOKENIZER_TOKENIZER_FOLDER_H
#define REMLA_DATA_TOKENIZER_TOKENIZER_FOLDER_H
#include "base/file.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct tokenizer_folder {
    char folder[PATH_BYTES];
    char tokenizer[PATH_BYTES]; /* the file */
    char name[128];             /* of the folder, for reading */
} tokenizer_folder;

/* path: a folder with a tokenizer.json, or the file itself, whatever its name. */
status tokenizer_folder_find(tokenizer_folder *f, const char *path, message *why);

/* The places that name the token "eos", "bos" or "pad", in the order in which they count:
 * tokenizer_config.json's KIND_token, KIND_token_id (the first of a list) of generation_config.json and that
 * of config.json. */
enum { SPECIAL_PLACES = 3 };

/* A special token as one of these places gives it. */
typedef struct special_token {
    char *text; /* as the file spells it, or NULL; the caller frees it */
    int64_t id; /* -1: none, or a text */
} special_token;

status tokenizer_folder_special(const tokenizer_folder *f, int place, const char *kind, special_token *out,
                                message *why);

/* A true or false of tokenizer_config.json; *said: it has this key. */
status tokenizer_folder_flag(const tokenizer_folder *f, const char *key, bool *said, bool *value,
                             message *why);

#endif
