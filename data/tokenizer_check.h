/* Checks that shards were made by the tokenizer of a model folder. */
#ifndef REMLA_DATA_TOKENIZER_CHECK_H
#define REMLA_DATA_TOKENIZER_CHECK_H
#include "data/dataset.h"

/* Compares shards that name their tokenizer's hash with MODEL/tokenizer.json, if that exists. A different
 * vocabulary is an ERR_INPUT; a different file with as many tokens is a warning, since tokenizer.json is
 * often saved again without a change of meaning. `key` is the option that the shards came from. Not
 * collective. */
status tokenizer_check(const dataset *d, const char *key, const char *model, message *why);

#endif
