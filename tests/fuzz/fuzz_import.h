/* What the targets of the importers share: a source is opened and read to its end, and must be what it says.
 */
#ifndef REMLA_TESTS_FUZZ_IMPORT_H
#define REMLA_TESTS_FUZZ_IMPORT_H
#include "data/prepare/import.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

/* Nothing reads more of one input: an RLE frame of a few bytes holds millions of ids. */
enum { MOST_RUNS = 500 };

static void read_source(const char *path, const import_settings *settings, int64_t most)
{
    static uint32_t ids[1000];
    import_source s;
    message why;
    int64_t count = 1, total = 0, documents = 0;
    bool ends = false;
    status result = import_open(&s, path, settings, &why);
    if (result != OK) {
        if (s.state || !why.text[0]) abort();
        return;
    }
    if (s.token_bytes != 2 && s.token_bytes != 4) abort();
    for (int run = 0; run < MOST_RUNS && result == OK && (count > 0 || ends); run++) {
        result = import_next(&s, ids, most, &count, &ends, &why);
        if (result != OK) break;
        if (count < 0 || count > most || (ends && !s.keeps_documents)) abort();
        for (int64_t i = 0; i < count; i++)
            if (ids[i] >= (settings->vocabulary ? settings->vocabulary : IMPORT_VOCABULARY)) abort();
        total += count;
        documents += ends;
    }
    if (result == OK && count == 0 && !ends) { /* all of it */
        if (s.tokens >= 0 && s.tokens != total) abort();
        if (s.keeps_documents && documents > s.documents) abort();
        if (s.done != s.bytes && total > 0) abort();
    }
    import_close(&s);
}

/* In steps of two sizes. */
static void read_twice(const char *path, const import_settings *settings)
{
    read_source(path, settings, 1000);
    read_source(path, settings, 3);
}

#endif
