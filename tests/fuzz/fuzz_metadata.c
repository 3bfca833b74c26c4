/* X.ds.metadata beside a shard of 1000 ids. */
#include "data/shards/shard.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char ids[2000];
    static char path[128];
    shard s;
    message why;
    if (!path[0]) strcpy(path, fuzz_file("x.ds", ids, sizeof ids));
    fuzz_file("x.ds.metadata", data, size);
    if (shard_open(&s, path, &why) != OK) return 0;
    if (s.tokens * s.token_bytes != (int64_t)sizeof ids) abort();
    shard_close(&s);
    return 0;
}
