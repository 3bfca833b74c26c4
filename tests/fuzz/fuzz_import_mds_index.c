/* index.json of a folder with one file, "s". */
#include "tests/fuzz/fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char shard[] = "\1\0\0\0\x0e\0\0\0\x1a\0\0\0{}\x08\0\0\0\4\3\x15\0\x16\0\x17\0";
    const import_settings settings = {.eos = -1, .column = ""}, named = {.eos = 5, .column = "a"};
    char folder[128];
    fuzz_file("s", shard, sizeof shard - 1);
    strcpy(folder, fuzz_file("index.json", data, size));
    *strrchr(folder, '/') = 0;
    read_twice(folder, &settings);
    read_twice(folder, &named);
    return 0;
}
