/* GPT-2's alphabet: every byte has a printable character that spells it in a tokenizer.json. Bytes that are
 * printable in Latin-1 spell themselves; the other 68 are spelled by U+0100 to U+0143, in order. */
#ifndef REMLA_DATA_TOKENIZER_BYTE_ALPHABET_H
#define REMLA_DATA_TOKENIZER_BYTE_ALPHABET_H
#include <stdint.h>

/* Returns the character that spells a byte. */
uint32_t byte_alphabet_letter(int byte);
/* Writes the bytes that a UTF-8 token spells, at most as many as it has, and returns their number; -1 when a
 * character is not in the alphabet. */
int64_t byte_alphabet_bytes(char *out, const char *token, int64_t bytes);

#endif
