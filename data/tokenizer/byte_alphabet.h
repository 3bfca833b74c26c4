/* GPT-2's alphabet: every byte has a printable character that spells it in a tokenizer.json. What is
 * printable in Latin-1 spells itself; the other 68 are spelled by U+0100 to U+0143, in order. */
#ifndef REMLA_DATA_TOKENIZER_BYTE_ALPHABET_H
#define REMLA_DATA_TOKENIZER_BYTE_ALPHABET_H
#include <stdint.h>

/* The character that spells a byte. */
uint32_t letter_of_byte(int byte);
/* The bytes that a token, which is UTF-8, spells: at most as many as it has; -1 when a character is no
 * letter. */
int64_t bytes_of_spelling(char *out, const char *token, int64_t bytes);

#endif
