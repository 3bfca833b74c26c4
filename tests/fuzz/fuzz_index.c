/* X.ds.index beside a shard of 1000 ids. In one that is accepted every id has its document. */
#include "data/shards/shard.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { TOKENS = 1000 };
    static const char ids[2 * TOKENS];
    static char path[128];
    shard s;
    message why;
    if (!path[0]) {
        fuzz_file("x.ds.metadata", "t|2\n1000\n", 9);
        strcpy(path, fuzz_file("x.ds", ids, sizeof ids));
    }
    fuzz_file("x.ds.index", data, size);
    if (shard_open(&s, path, &why) != OK) return 0;
    for (int64_t t = 0; t < TOKENS; t++) {
        const int64_t d = shard_document(&s, t);
        if (s.document_end[d] <= t || (d > 0 && s.document_end[d - 1] > t)) abort();
    }
    shard_close(&s);
    return 0;
}
