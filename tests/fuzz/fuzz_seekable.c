/* A file in the seekable format: its table, then all frames of up to 1 MiB of content. */
#include "data/shards/seekable.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static frame_decoder decoder;
    seekable z;
    message why;
    if (seekable_parse(&z, "input", data, (int64_t)size, (int64_t)size, &why) != OK) return 0;
    for (int64_t i = 0; i < z.frames; i++) {
        const int64_t bytes = z.from[i + 1] - z.from[i];
        if (bytes == 0 || bytes > 1 << 20) continue;
        uint8_t *out = malloc((size_t)bytes);
        seekable_frame_decode(&decoder, "input", i, data + z.at[i], z.at[i + 1] - z.at[i], out, bytes,
                              z.checksum ? &z.checksum[i] : NULL, &why);
        free(out);
    }
    for (int64_t offset = 0; offset < seekable_bytes(&z); offset += seekable_bytes(&z) / 9 + 1) {
        const int64_t frame = seekable_frame(&z, offset);
        if (z.from[frame] > offset || z.from[frame + 1] <= offset) abort();
    }
    seekable_close(&z);
    return 0;
}
