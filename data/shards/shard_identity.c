/* The identity of ids that a tokenizer made. Ids take 2 bytes if the vocabulary fits, else 4. */
#include "data/shards/shard_identity.h"
#include "data/tokenizer/tokenizer.h"
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static int64_t known(int64_t id, int64_t vocabulary) { return id < vocabulary ? id : -1; }

shard_identity shard_identity_of(const tokenizer *t, int64_t eos)
{
    const int64_t vocabulary = tokenizer_vocabulary(t);
    shard_identity i = {.token_bytes = vocabulary <= 1 << 16 ? 2 : 4,
                        .vocabulary = vocabulary,
                        .eos = eos,
                        .bos = known(tokenizer_bos(t), vocabulary),
                        .pad = known(tokenizer_pad(t), vocabulary)};
    shard_identity_name(i.tokenizer, sizeof i.tokenizer, tokenizer_name(t), strlen(tokenizer_name(t)));
    snprintf(i.tokenizer_sha256, sizeof i.tokenizer_sha256, "%s", tokenizer_sha256(t));
    return i;
}

void shard_identity_name(char *out, size_t size, const char *name, size_t length)
{
    size_t at = 0;
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t found =
            utf8proc_iterate((const utf8proc_uint8_t *)name + i, (utf8proc_ssize_t)(length - i), &c);
        const bool bad = found <= 0 || c < 0x20 || c == 0x7f;
        const size_t n = found <= 0 ? 1 : (size_t)found;
        if (at + (bad ? 1 : n) >= size) break;
        if (bad)
            out[at++] = '?';
        else
            memcpy(out + at, name + i, n), at += n;
        i += n;
    }
    out[at] = 0;
}
