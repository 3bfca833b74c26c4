/* Where a tokenizer.json lies, and what the files beside it say of special tokens. */
#ifndef REMLA_DATA_TOKENIZER_FOLDER_H
#define REMLA_DATA_TOKENIZER_FOLDER_H
#include "base/file.h"
#include "data/tokenizer/tokenizer.h"

typedef struct tokenizer_folder {
    char folder[PATH_BYTES];
    char tokenizer[PATH_BYTES]; /* the file */
    char name[128];             /* the folder's own, for people */
} tokenizer_folder;

/* path: a folder with a tokenizer.json, or the file itself, whatever its name. */
status tokenizer_folder_find(tokenizer_folder *f, const char *path, message *why);

/* The id of "eos", "bos" or "pad": tokenizer_config.json's KIND_token, else KIND_token_id (the first of a
 * list) of generation_config.json, else of config.json. -1 where none has it, or it is no id of `t`. */
status tokenizer_folder_id(const tokenizer_folder *f, const tokenizer *t, const char *kind, int64_t *id,
                           message *why);

#endif
