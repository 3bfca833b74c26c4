/* The two hashes that dataset.json keeps of a file: XXH3-128 for damage, SHA-256 for identity. */
#ifndef REMLA_BASE_DIGEST_H
#define REMLA_BASE_DIGEST_H
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_TEXT = 65, XXH3_TEXT = 33 };

/* Both as lower-case hexadecimal, zero-terminated. */
typedef struct digest_text {
    char xxh3_128[XXH3_TEXT], sha256[SHA256_TEXT];
} digest_text;

typedef struct digest_state digest_state; /* a running pair; the caller owns it until digest_finish */

digest_state *digest_start(void);
void digest_update(digest_state *d, const void *data, size_t bytes);
void digest_finish(digest_state *d, digest_text *out); /* frees d */

/* Hashes a whole file; *bytes (may be NULL) is its size. */
status digest_file(const char *path, digest_text *out, int64_t *bytes, message *why);

void digest_sha256(const void *data, size_t bytes, char out[SHA256_TEXT]);
void digest_hex_write(char *out, const uint8_t *data, int bytes); /* 2*bytes characters and a zero */
/* Returns 1, and fills `out`, if text is exactly 2*bytes lower-case digits; else 0. */
int digest_hex_read(uint8_t *out, const char *text, int bytes);

#endif
