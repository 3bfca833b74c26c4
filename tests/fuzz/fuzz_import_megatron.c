/* X.idx and X.bin: two bytes say how long the index is, then both. */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const import_settings settings = {.eos = -1, .column = ""};
    if (size < 2) return 0;
    size_t index = (size_t)(data[0] | data[1] << 8);
    if (index > size - 2) index = size - 2;
    fuzz_file("x.idx", data + 2, index);
    read_twice(fuzz_file("x.bin", data + 2 + index, size - 2 - index), &settings);
    return 0;
}
