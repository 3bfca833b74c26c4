/* GPT-2's alphabet is computed in both directions: bytes that spell themselves, and 68 others in order, at
 * U+0100 and behind. */
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/unicode.h"
#include <stdbool.h>

enum { FIRST_OTHER = 0x100, NUM_OTHER = 68 };

static bool spells_itself(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* Returns the n-th byte that does not spell itself. */
static int other(int n)
{
    if (n < 0x21) return n;
    return n == NUM_OTHER - 1 ? 0xad : n - 0x21 + 0x7f;
}

/* Returns the byte that a character spells, or -1. */
static int byte_of_letter(uint32_t letter)
{
    if (letter < FIRST_OTHER) return spells_itself((int)letter) ? (int)letter : -1;
    return letter < FIRST_OTHER + NUM_OTHER ? other((int)letter - FIRST_OTHER) : -1;
}

uint32_t byte_alphabet_letter(int byte)
{
    if (spells_itself(byte)) return (uint32_t)byte;
    return FIRST_OTHER + (uint32_t)(byte < 0x21 ? byte : byte == 0xad ? NUM_OTHER - 1 : byte - 0x7f + 0x21);
}

int64_t byte_alphabet_bytes(char *out, const char *token, int64_t bytes)
{
    int64_t n = 0;
    int length;
    for (int64_t i = 0; i < bytes; i += length) {
        const int byte = byte_of_letter(utf8_at(token + i, &length));
        if (byte < 0) return -1;
        out[n++] = (char)byte;
    }
    return n;
}
