/* Raw ids, read as both widths. */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("x.bin", data, size);
    for (int width = 2; width <= 4; width += 2) {
        const import_settings settings = {
            .format = IMPORT_NANOGPT, .token_bytes = width, .vocabulary = 60000, .eos = 5, .column = ""};
        read_twice(path, &settings);
    }
    return 0;
}
