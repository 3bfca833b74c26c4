/* The header of X.ds.zst. One that is accepted is written again as it was. */
#include "data/shards/shard_header.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void parse(const uint8_t *data, size_t size)
{
    shard_identity identity;
    int64_t tokens;
    message why;
    uint8_t again[SHARD_HEADER_BYTES];
    if (!shard_header_present(data, (int64_t)size)) return;
    if (shard_header_parse("input", data, (int64_t)size, &identity, &tokens, &why) != OK) return;
    shard_header_pack(again, &identity, tokens);
    if (memcmp(again, data, SHARD_HEADER_BYTES) != 0) abort();
}

/* Also with the hash put right, which no mutation finds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size);
    if (size < SHARD_HEADER_BYTES) return 0;
    uint8_t right[SHARD_HEADER_BYTES];
    memcpy(right, data, sizeof right);
    const uint64_t hash = XXH3_64bits(right, sizeof right - sizeof hash);
    memcpy(right + sizeof right - sizeof hash, &hash, sizeof hash);
    parse(right, sizeof right);
    return 0;
}
