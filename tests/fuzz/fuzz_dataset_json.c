/* dataset.json. One that is accepted finds its own shards. */
#include "data/shards/dataset_json.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dataset_manifest m;
    message why;
    if (dataset_manifest_parse(&m, "input", (const char *)data, (int64_t)size, &why) != OK) return 0;
    for (int64_t i = 0; i < m.count; i++)
        if (dataset_manifest_find(&m, m.shard[i].name) != &m.shard[i]) abort();
    dataset_manifest_free(&m);
    return 0;
}
