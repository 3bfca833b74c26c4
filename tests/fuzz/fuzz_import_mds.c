/* A shard of MDS. The first byte chooses its columns and whether it is compressed; then, if it is, come four
 * bytes that say what it is said to decompress to. What index.json must know about it is made up to fit. */
#include "tests/fuzz/fuzz_import.h"
#include <stdio.h>

static const struct {
    const char *names, *encodings, *sizes;
} columns[] = {
    {"\"tokens\"", "\"ndarray:int32\"", "null"},
    {"\"tokens\"", "\"bytes\"", "null"},
    {"\"a\", \"b\", \"tokens\", \"z\"", "\"str\", \"int\", \"ndarray:uint16\", \"pkl\"",
     "null, 8, null, null"},
    {"\"input_ids\", \"x\"", "\"ndarray:int64:2\", \"str\"", "16, null"},
};

static void write_index(int choice, long long samples, bool zip, long long packed, long long bytes,
                        char *folder)
{
    char text[1000], zip_data[100];
    snprintf(zip_data, sizeof zip_data, "{\"basename\": \"s.zstd\", \"bytes\": %lld, \"hashes\": {}}",
             packed);
    const int n = snprintf(text, sizeof text,
                           "{\"version\": 2, \"shards\": [{\"column_names\": [%s], \"column_encodings\": "
                           "[%s], \"column_sizes\": [%s], "
                           "\"compression\": %s, \"format\": \"mds\", \"raw_data\": {\"basename\": \"s\", "
                           "\"bytes\": %lld, \"hashes\": {}}, "
                           "\"samples\": %lld, \"version\": 2, \"zip_data\": %s}]}",
                           columns[choice].names, columns[choice].encodings, columns[choice].sizes,
                           zip ? "\"zstd:3\"" : "null", bytes, samples, zip ? zip_data : "null");
    strcpy(folder, fuzz_file("index.json", text, (size_t)n));
    *strrchr(folder, '/') = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const import_settings settings = {.eos = -1, .column = ""};
    char folder[128];
    uint32_t bytes = 0, samples = 0;
    if (size < 5) return 0;
    const bool zip = data[0] & 4;
    const int choice = data[0] & 3;
    data++, size--;
    if (zip) {
        memcpy(&bytes, data, 4);
        data += 4, size -= 4;
        samples = bytes >> 24; /* any few */
        bytes &= 0xffffff;
    } else {
        bytes = (uint32_t)size;
        memcpy(&samples, data, 4);
    }
    write_index(choice, samples, zip, (long long)size, bytes, folder);
    fuzz_file(zip ? "s.zstd" : "s", data, size);
    if (zip) {
        fuzz_file("s", data, 0);
        fuzz_remove("s");
    }
    read_twice(folder, &settings);
    return 0;
}
