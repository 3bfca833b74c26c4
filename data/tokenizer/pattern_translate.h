/* Translates regular expressions from Oniguruma (Ruby's syntax, Unicode) to PCRE2. */
#ifndef REMLA_DATA_TOKENIZER_PATTERN_TRANSLATE_H
#define REMLA_DATA_TOKENIZER_PATTERN_TRANSLATE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

/* Copies syntax that both interpret alike, translates \s, \uXXXX and \p{Han}, and refuses the rest (\w, \b,
 * sets inside sets, back references ...) with an ERR_INPUT that names it and `where`. *classes: the
 * expression depends on general categories of characters. The caller frees *out, which ends with a zero. */
status pattern_translate(char **out, bool *classes, const char *text, int64_t bytes, const char *where,
                         message *why);

#endif
