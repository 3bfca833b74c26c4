/* The header of X.ds.zst as a C struct that is copied from and to the file's bytes: little-endian without
 * padding. Its hash is checked before any field is believed. */
#include "data/shards/shard_header.h"
#include "base/digest.h"
#include "data/shards/seekable.h"
#include <string.h>
#include <xxhash.h>

typedef struct header {
    uint32_t frame_magic, frame_bytes; /* of the skippable frame; frame_bytes does not count these two */
    char magic[8];
    uint32_t version, token_bytes;
    int64_t vocabulary, eos, bos, pad, tokens; /* unknown: -1 */
    uint8_t tokenizer_sha256[SHA256_BYTES];    /* unknown: zeros */
    uint64_t hash;                             /* XXH3-64 of everything before it */
} header;
_Static_assert(sizeof(header) == SHARD_HEADER_BYTES, "the header has no padding");

static const char MAGIC[8] = "remla ds";
enum { VERSION = 1 };

void shard_header_pack(uint8_t out[SHARD_HEADER_BYTES], const shard_identity *identity, int64_t tokens)
{
    header h = {.frame_magic = SKIPPABLE_MAGIC,
                .frame_bytes = SHARD_HEADER_BYTES - 8,
                .version = VERSION,
                .token_bytes = (uint32_t)identity->token_bytes,
                .vocabulary = identity->vocabulary,
                .eos = identity->eos,
                .bos = identity->bos,
                .pad = identity->pad,
                .tokens = tokens};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    if (identity->tokenizer_sha256[0])
        REQUIRE(digest_hex_read(h.tokenizer_sha256, identity->tokenizer_sha256, SHA256_BYTES),
                "\"%s\" is no SHA-256", identity->tokenizer_sha256);
    h.hash = XXH3_64bits(&h, offsetof(header, hash));
    memcpy(out, &h, sizeof h);
}

/* One of the two magic numbers is enough: a damaged header must not pass for a missing one. */
int shard_header_present(const uint8_t *data, int64_t bytes)
{
    const uint32_t frame_magic = SKIPPABLE_MAGIC;
    return (bytes >= 4 && !memcmp(data, &frame_magic, 4)) ||
           (bytes >= 16 && !memcmp(data + 8, MAGIC, sizeof MAGIC));
}

static int id_plausible(int64_t id, int64_t vocabulary)
{
    return id >= -1 && (id < vocabulary || vocabulary < 0) && id <= UINT32_MAX;
}

status shard_header_parse(const char *path, const uint8_t *data, int64_t bytes, shard_identity *identity,
                          int64_t *tokens, message *why)
{
    header h;
    if (bytes < SHARD_HEADER_BYTES)
        return fail(why, ERR_INPUT, "%s: ends in its header: %lld bytes, the header alone has %d", path,
                    (long long)bytes, SHARD_HEADER_BYTES);
    memcpy(&h, data, sizeof h);
    if (h.hash != XXH3_64bits(&h, offsetof(header, hash)))
        return fail(why, ERR_INPUT, "%s: the header (the first %d bytes) is damaged: its hash does not match",
                    path, SHARD_HEADER_BYTES);
    if (h.version != VERSION)
        return fail(why, ERR_INPUT, "%s: the header is of version %u, this program reads version %d", path,
                    h.version, VERSION);
    if (h.frame_magic != SKIPPABLE_MAGIC || h.frame_bytes != SHARD_HEADER_BYTES - 8 ||
        memcmp(h.magic, MAGIC, sizeof MAGIC) != 0 || (h.token_bytes != 2 && h.token_bytes != 4) ||
        h.vocabulary < -1 || h.tokens < 1 || !id_plausible(h.eos, h.vocabulary) ||
        !id_plausible(h.bos, h.vocabulary) || !id_plausible(h.pad, h.vocabulary))
        return fail(
            why, ERR_INPUT,
            "%s: the header is inconsistent: %u bytes, %u bytes per token, vocabulary %lld, end of text "
            "%lld, begin %lld, pad %lld, %lld tokens",
            path, h.frame_bytes, h.token_bytes, (long long)h.vocabulary, (long long)h.eos, (long long)h.bos,
            (long long)h.pad, (long long)h.tokens);
    *identity = (shard_identity){.token_bytes = (int)h.token_bytes,
                                 .vocabulary = h.vocabulary,
                                 .eos = h.eos,
                                 .bos = h.bos,
                                 .pad = h.pad};
    static const uint8_t unknown[SHA256_BYTES];
    if (memcmp(h.tokenizer_sha256, unknown, SHA256_BYTES) != 0)
        digest_hex_write(identity->tokenizer_sha256, h.tokenizer_sha256, SHA256_BYTES);
    *tokens = h.tokens;
    return OK;
}
