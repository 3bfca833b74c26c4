/* Text files: the first byte says what kind, the second where the file is cut in two. Documents are read to
 * the end; lines that are read in two parts are the documents of the whole. */
#include "data/prepare/text_reader.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <xxhash.h>

enum { KINDS = 7 };
static const char *const kinds[KINDS] = {"x.jsonl",     "x.txt",     "x.jsonl.gz", "x.txt.gz",
                                         "x.jsonl.zst", "x.txt.zst", "x.jsonl"};

/* Hashes the documents of [from, to); *count gains their number. */
static status read_part(XXH3_state_t *hash, const char *path, int64_t from, int64_t to, int64_t *count)
{
    text_reader r;
    text_batch b = {0};
    bool ended = false;
    message why;
    status s = text_reader_open(&r, path, from, to, &why);
    while (s == OK && !ended) {
        text_batch_clear(&b);
        s = text_reader_fill(&r, &b, 100, &ended, &why);
        for (int64_t i = 0; s == OK && i < b.records; i++) {
            document d;
            s = text_record_document(&b, &b.record[i], "text", &d, &why);
            if (s != OK) break;
            XXH3_64bits_update(hash, d.text, (size_t)d.bytes);
            XXH3_64bits_update(hash, &d.bytes, sizeof d.bytes);
            document_free(&d);
            ++*count;
        }
    }
    text_reader_close(&r);
    text_batch_free(&b);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const int kind = data[0] % KINDS;
    const char *path = fuzz_file(kinds[kind], data + 2, size - 2);
    const int64_t cut = 1 + data[1];
    XXH3_state_t *whole = XXH3_createState(), *parts = XXH3_createState();
    int64_t count = 0, count_parts = 0;
    XXH3_64bits_reset(whole);
    XXH3_64bits_reset(parts);
    const status s = read_part(whole, path, 0, INT64_MAX, &count);
    if (text_reader_is_lines(path) && !text_stream_is_packed(path)) {
        status t = read_part(parts, path, 0, cut, &count_parts);
        if (t == OK) t = read_part(parts, path, cut, INT64_MAX, &count_parts);
        if (t != s || count != count_parts) abort();
        if (s == OK && XXH3_64bits_digest(whole) != XXH3_64bits_digest(parts)) abort();
    }
    XXH3_freeState(whole);
    XXH3_freeState(parts);
    return 0;
}
