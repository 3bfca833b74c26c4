/* Tracks which pages hold the positions of sequences. A page has room for a fixed number of positions; pages
 * come from one pool, and go back to it when no sequence holds them. Sequences may hold the same page, so
 * that what they have in common is stored once. A sequence that appends to a page which another one also
 * holds gets a copy of it first. This is bookkeeping on the host; the data in the pages belongs to the
 * caller.
 *
 * Nothing is allocated after pages_init. A sequence that is not open, or more positions than fit, is a bug.
 */
#ifndef REMLA_MODEL_DECODE_PAGES_H
#define REMLA_MODEL_DECODE_PAGES_H
#include <stdbool.h>
#include <stdint.h>

typedef struct page_sequence {
    bool open;
    int64_t length; /* positions */
    int32_t *page;  /* (most) of positions 0.., the first (length+page_size-1)/page_size are held */
} page_sequence;

typedef struct pages {
    int64_t size;        /* positions of a page */
    int64_t count, most; /* pages of the pool, pages of one sequence */
    int32_t *holders;    /* (count) sequences that hold a page */
    int32_t *unused;     /* (num_unused) pages without a holder; the last one is taken next */
    int64_t num_unused;
    int sequences;
    page_sequence *sequence; /* (sequences) */
} pages;

/* A page whose first `positions` positions the caller must copy before anything is written to `to`. */
typedef struct page_copy {
    int32_t from, to;
    int64_t positions; /* 0: there is nothing to copy */
} page_copy;

/* A pool of `count` pages for `sequences` sequences of `longest` positions at most. */
void pages_init(pages *p, int64_t size, int64_t count, int sequences, int64_t longest);
void pages_free(pages *p);

/* An empty sequence, or one that begins as the first `length` positions of `from`. -1: all are open. */
int pages_open(pages *p);
int pages_fork(pages *p, int from, int64_t length);
/* Gives back what is behind the first `length` positions. */
void pages_rewind(pages *p, int sequence, int64_t length);
void pages_close(pages *p, int sequence);

/* Unused pages that appending `count` positions takes, the copy of a shared page among them. */
int64_t pages_for(const pages *p, int sequence, int64_t count);
/* Appends; so many pages must be unused. */
page_copy pages_append(pages *p, int sequence, int64_t count);

/* Returns the row of a position of a sequence: a row is one position, and pages follow one another. */
int32_t pages_row(const pages *p, int sequence, int64_t position);

/* An open sequence; stops the job when it is not. */
const page_sequence *pages_sequence(const pages *p, int sequence);

#endif
