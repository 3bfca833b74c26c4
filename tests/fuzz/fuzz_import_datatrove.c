/* X.ds.metadata, X.ds.index and X.ds: a byte each says how long the first two are (255: not there), then all
 * three. */
#include "tests/fuzz/fuzz_import.h"

static const uint8_t *part(const char *name, size_t bytes, const uint8_t *data, const uint8_t *end)
{
    if (bytes == 255) {
        fuzz_file(name, data, 0);
        fuzz_remove(name);
        return data;
    }
    if (bytes > (size_t)(end - data)) bytes = (size_t)(end - data);
    fuzz_file(name, data, bytes);
    return data + bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const import_settings settings = {.eos = -1, .column = ""},
                          wide = {.token_bytes = 4, .eos = -1, .column = ""};
    if (size < 2) return 0;
    const uint8_t *end = data + size, *at = data + 2;
    at = part("x.ds.metadata", data[0], at, end);
    at = part("x.ds.index", data[1], at, end);
    const char *path = fuzz_file("x.ds", at, (size_t)(end - at));
    read_twice(path, &settings);
    read_twice(path, &wide);
    return 0;
}
