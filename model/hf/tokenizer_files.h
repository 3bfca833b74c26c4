/* The tokenizer's files in a model folder. A model that is made of another one takes them along unread. */
#ifndef REMLA_MODEL_HF_TOKENIZER_FILES_H
#define REMLA_MODEL_HF_TOKENIZER_FILES_H
#include "base/written.h"

/* Copies those files of a tokenizer, and generation_config.json, that the folder `from` has, durably; adds
 * them to `written` (may be NULL). */
status tokenizer_files_copy(const char *from, const char *to, written_files *written, message *why);

#endif
