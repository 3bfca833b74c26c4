/* A file that llm.c may have written, recognised or not. */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const import_settings settings = {.eos = -1, .column = ""};
    read_twice(fuzz_file("x.bin", data, size), &settings);
    return 0;
}
