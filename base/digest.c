/* Both hashes in one pass over the data: SHA-256 by nettle, XXH3-128 by xxhash. */
#include "base/digest.h"
#include "base/file.h"
#include "base/memory.h"
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { CHUNK = 1 << 20 };

struct digest_state {
    struct sha256_ctx sha256;
    XXH3_state_t *xxh3;
};

void digest_hex_write(char *out, const uint8_t *data, int bytes)
{
    for (int i = 0; i < 2 * bytes; i++) out[i] = "0123456789abcdef"[data[i / 2] >> (i % 2 ? 0 : 4) & 15];
    out[2 * bytes] = 0;
}

int digest_hex_read(uint8_t *out, const char *text, int bytes)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 2 * (size_t)bytes || text[strspn(text, digits)]) return 0;
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
                           (strchr(digits, text[2 * i + 1]) - digits));
    return 1;
}

digest_state *digest_start(void)
{
    digest_state *d = memory_new(1, sizeof *d, "a hash");
    d->xxh3 = memory_check(XXH3_createState(), "a hash");
    sha256_init(&d->sha256);
    XXH3_128bits_reset(d->xxh3);
    return d;
}

void digest_update(digest_state *d, const void *data, size_t bytes)
{
    sha256_update(&d->sha256, bytes, data);
    XXH3_128bits_update(d->xxh3, data, bytes);
}

void digest_finish(digest_state *d, digest_text *out)
{
    uint8_t sha256[SHA256_BYTES];
    XXH128_canonical_t xxh3;
    sha256_digest(&d->sha256, sizeof sha256, sha256);
    XXH128_canonicalFromHash(&xxh3, XXH3_128bits_digest(d->xxh3));
    digest_hex_write(out->sha256, sha256, sizeof sha256);
    digest_hex_write(out->xxh3_128, xxh3.digest, sizeof xxh3.digest);
    XXH3_freeState(d->xxh3);
    free(d);
}

status digest_file(const char *path, digest_text *out, int64_t *bytes, message *why)
{
    int fd;
    int64_t size;
    TRY(file_open(path, &fd, &size, why));
    char *chunk = memory_new(CHUNK, 1, "the hash of %s", path);
    digest_state *d = digest_start();
    status s = OK;
    for (int64_t done = 0; done < size && s == OK; done += CHUNK) {
        const int64_t n = size - done < CHUNK ? size - done : CHUNK;
        s = file_read_at(fd, path, chunk, n, done, why);
        if (s == OK) digest_update(d, chunk, (size_t)n);
    }
    digest_finish(d, out);
    free(chunk);
    close(fd);
    if (bytes) *bytes = size;
    return s;
}

void digest_sha256(const void *data, size_t bytes, char out[SHA256_TEXT])
{
    struct sha256_ctx context;
    uint8_t hash[SHA256_BYTES];
    sha256_init(&context);
    sha256_update(&context, bytes, data);
    sha256_digest(&context, sizeof hash, hash);
    digest_hex_write(out, hash, sizeof hash);
}
