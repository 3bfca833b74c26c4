/* Sequences in pages, for the tests of decoding: a pass over several sequences whose pages lie scattered, and
 * a cache that holds their rows. */
#ifndef REMLA_TESTS_PAGES_H
#define REMLA_TESTS_PAGES_H
#include "tests/support/check.h"

/* The last `rows` of a sequence's `length` positions are in the pass. */
typedef struct pages_span {
    int64_t rows, length;
} pages_span;

/* Another `seed` scatters the pages in another way. Some pages belong to nobody. */
ragged pages_of(const pages_span *spans, int64_t sequences, int64_t page, uint64_t seed);

/* A cache of rows of `type` that holds `rows` (sequences, at least r->longest, width) act: every position of
 * every sequence. What no sequence uses is NaN. */
cached pages_cache(const ops *k, dtype type, const ragged *r, const tensor *rows);

/* What the cache holds, as doubles (sequences, r->longest, width); NaN behind a sequence's end. */
tensor pages_read(const ops *k, const cached *c, const ragged *r);

/* sequence and position of row n */
int64_t pages_sequence(const ragged *r, int64_t n);
int64_t pages_position(const ragged *r, int64_t n);

#endif
