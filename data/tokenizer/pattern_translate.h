/* Oniguruma's regular expressions (Ruby's syntax, Unicode) in PCRE2's words. */
#ifndef REMLA_DATA_TOKENIZER_PATTERN_TRANSLATE_H
#define REMLA_DATA_TOKENIZER_PATTERN_TRANSLATE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* What the two read alike is copied, \s, \uXXXX and \p{Han} are spelled anew, and the rest (\w, \b, sets
 * inside sets, back references ...) is an ERR_INPUT that names it and `where`. *classes: whether it goes by
 * general categories of characters anywhere. The caller frees *out, which ends with a zero. */
status pattern_translate(char **out, bool *classes, const char *text, int64_t bytes, const char *where,
                         message *why);

#endif
