/* X.ds.zst as a file, without metadata and index: opened, and its ids read, up to a million of them. */
#include "data/shards/shard.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MOST = 1 << 20 };
    shard s;
    message why;
    if (shard_open(&s, fuzz_file("x.ds.zst", data, size), &why) != OK) return 0;
    const int64_t count = s.tokens < MOST ? s.tokens : MOST;
    int32_t *ids = malloc(sizeof *ids * (size_t)count);
    shard_read(&s, 0, count, s.identity.vocabulary < 0 ? (int64_t)1 << 32 : s.identity.vocabulary, ids, &why);
    shard_read(&s, s.tokens - 1, 1, (int64_t)1 << 32, ids, &why);
    free(ids);
    shard_close(&s);
    return 0;
}
