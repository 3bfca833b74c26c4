/* One frame of X.ds.zst, its content as large as it says itself, up to 1 MiB. */
#include "data/shards/seekable.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static frame_decoder decoder;
    message why;
    const unsigned long long says = ZSTD_getFrameContentSize(data, size);
    const int64_t bytes = says <= 1 << 20 ? (int64_t)says : 1000;
    uint8_t *out = malloc((size_t)bytes + 1);
    seekable_frame_decode(&decoder, "input", 0, data, (int64_t)size, out, bytes, NULL, &why);
    free(out);
    return 0;
}
