/* Filters that a template applies to a text on its way into a prompt. Texts are UTF-8, and characters are
 * code points: strip and capitalize are Python's, on which published scores rest. */
#ifndef REMLA_EVAL_TASKS_FILTERS_H
#define REMLA_EVAL_TASKS_FILTERS_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"

/* Applies a chain of filters, "strip|clean", of `length` bytes; an empty chain does nothing.
 *
 *   strip            without white space at both ends
 *   capitalize       the first character in title case, the others in lower case; characters that would
 *                    become several stay as they are
 *   clean            " [title]" becomes ". ", then what is in brackets goes (from each "[" to the next "]" of
 *                    its line), then two spaces become one, in one pass
 *   replace:A:B      B for every A
 *   before:A, after:A   the part before, or behind, the first A
 *
 * ERR_INPUT, with a sentence about the chain or the text, when there is no such filter, or no A to cut at. */
status filters_apply(const char *chain, int64_t length, text_buffer *text, message *why);

/* Bytes of the text without the white space at its end. */
int64_t filters_stripped(const char *text, int64_t bytes);

#endif
