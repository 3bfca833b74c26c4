/* Turns tokens into text one after another, in whole characters: what has come never has to be taken back,
 * and a character of several tokens comes with its last one.
 *
 * All pieces together are the text that tokenizer_decode makes of all tokens at once, with one exception:
 * where a tokenizer spells characters byte by byte (<0xE6>, byte fallback) and a broken character follows
 * whole ones, that makes U+FFFD of all of them, and here of the broken one alone. */
#ifndef REMLA_GENERATE_TOKEN_TEXT_H
#define REMLA_GENERATE_TOKEN_TEXT_H
#include "data/tokenizer/tokenizer.h"

typedef struct token_text token_text;

/* t is borrowed. special: spells out tokens like <|im_end|>, which are left out otherwise. inside: the text
 * goes on behind another; else it begins here, where some tokenizers take a space away. */
token_text *token_text_new(const tokenizer *t, bool special, bool inside);
void token_text_free(token_text *x); /* NULL is fine */

/* Appends to `out` what this token adds. An id that the tokenizer does not have (models pad their vocabulary)
 * adds nothing. */
void token_text_push(token_text *x, int32_t token, text_buffer *out);
/* Appends the rest, when no more tokens come: U+FFFD where a character was begun. */
void token_text_end(token_text *x, text_buffer *out);

#endif
