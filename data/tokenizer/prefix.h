/* The token that a tokenizer puts in front of every text by itself, as transformers do for Llama and
 * Mistral. */
#ifndef REMLA_DATA_TOKENIZER_PREFIX_H
#define REMLA_DATA_TOKENIZER_PREFIX_H
#include "base/status.h"
#include "data/tokenizer/tokenizer_folder.h"

typedef struct json_t json_t;

/* *token (the caller frees; NULL: none) is the special token in front of the text in the file's
 * post_processor (TemplateProcessing, also one of a Sequence). tokenizer_config.json's add_bos_token says
 * instead whether its bos_token is put there, where the file has such a key. */
status prefix_read(const json_t *post_processor, const tokenizer_folder *f, char **token, message *why);

#endif
