/* Whether shards were made by the tokenizer of a model folder. */
#ifndef REMLA_DATA_TOKENIZER_CHECK_H
#define REMLA_DATA_TOKENIZER_CHECK_H
#include "data/dataset.h"

/* Shards that name their tokenizer's hash are compared with MODEL/tokenizer.json, where that exists: one of
 * another vocabulary is an ERR_INPUT; another file with as many tokens is a warning, since tokenizer.json is
 * often saved anew without another meaning. `key` is the option that the shards came from. Not collective. */
status tokenizer_check(const dataset *d, const char *key, const char *model, message *why);

#endif
