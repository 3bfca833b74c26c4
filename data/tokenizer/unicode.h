/* UTF-8, and classes of characters as in the library `tokenizers`. unicode.def lists the characters that the
 * library and Debian's libraries classify differently. */
#ifndef REMLA_DATA_TOKENIZER_UNICODE_H
#define REMLA_DATA_TOKENIZER_UNICODE_H
#include <stdbool.h>
#include <stdint.h>

/* Returns the place of the first byte that is not UTF-8; -1 if there is none. */
int64_t utf8_check(const char *text, int64_t bytes);

/* Returns the character at `text`, which is UTF-8, and its number of bytes. */
static inline uint32_t utf8_at(const char *text, int *bytes)
{
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80) return *bytes = 1, p[0];
    if (p[0] < 0xe0) return *bytes = 2, (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    if (p[0] < 0xf0) return *bytes = 3, (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    return *bytes = 4, (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
}

/* Returns the number of bytes of a character that begins with this byte. */
static inline int utf8_bytes(char first)
{
    const uint8_t b = (uint8_t)first;
    return b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

/* Returns how many characters (code points) a UTF-8 text has. */
int64_t utf8_length(const char *text, int64_t bytes);

int utf8_put(char *out, uint32_t c); /* returns how many bytes, at most 4 */

/* Returns the twin of `c`: an older character, with as many bytes, in the same classes of regular
 * expressions. 0 if PCRE2 knows `c` itself. */
uint32_t unicode_twin(uint32_t c);
/* unicode_has_twins tells whether a UTF-8 text has a character with a twin; unicode_put_twins replaces all of
 * them in place. */
bool unicode_has_twins(const char *text, int64_t bytes);
void unicode_put_twins(char *text, int64_t bytes);

bool unicode_is_space(uint32_t c); /* \s */
bool unicode_is_word(uint32_t c);  /* \w: letter, mark, number, connector, joiner */
bool unicode_is_inert(uint32_t c); /* no normal form changes, moves or joins it */

#endif
