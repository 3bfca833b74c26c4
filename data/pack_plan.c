/* Two ways of packing documents into samples of T positions:
 *
 *     TransMLA   chunks of documents, each with an end-of-text token (e), next-fit: a chunk that does
 *                not fit into the open sample begins a new one
 *                | aaaaa e bb e - | ccccccc e | ...
 *     best fit   full pieces of T, then the rests of documents, longest first, each into the fullest
 *                sample that still has space for it
 *                | aaaaaaaaa | bbbbbb ccc | ddddd fff - |
 *
 * Best fit keeps samples on a shelf by their free space, with a bit for every space that some sample has: the
 * fullest that fits is the next bit that is set. Both go through a shard's documents once, in order, and look
 * at a bounded number of them at a time, so that samples with close numbers are close in the shard. */
#include "data/pack_plan.h"
#include "base/memory.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TRANSMLA_BATCH = 1024, BEST_FIT_SCOPE = 8192 };

static void plan_init(pack_plan *p, int64_t pieces)
{
    *p = (pack_plan){.first = memory_new(pieces + 1, sizeof *p->first, "pieces of samples"),
                     .from = memory_new(pieces, sizeof *p->from, "pieces of samples"),
                     .length = memory_new(pieces, sizeof *p->length, "pieces of samples")};
    p->first[0] = 0;
}

void pack_plan_free(pack_plan *p)
{
    free(p->first);
    free(p->from);
    free(p->length);
    *p = (pack_plan){0};
}

/* Adds a piece at the end of the last sample or, if `fresh`, as the first of a new one. */
static void add(pack_plan *p, bool fresh, int64_t from, int64_t length)
{
    p->samples += fresh;
    p->from[p->pieces] = (uint64_t)from;
    p->length[p->pieces++] = (uint32_t)length;
    p->first[p->samples] = (uint64_t)p->pieces;
}

static int64_t document_start(const int64_t *document_end, int64_t d) { return d ? document_end[d - 1] : 0; }

/* ---- TransMLA ------------------------------------------------------------------------------------------ */

void pack_plan_transmla(pack_plan *out, const int64_t *document_end, int64_t documents, const uint8_t *ends,
                        int64_t T)
{
    int64_t chunks = 0, used = 0;
    for (int64_t d = 0; d < documents; d++)
        chunks += (document_end[d] - ends[d] - document_start(document_end, d) + T - 2) / (T - 1);
    plan_init(out, chunks);
    for (int64_t d = 0; d < documents; d++) {
        if (d % TRANSMLA_BATCH == 0) used = T; /* nothing fits into what the batch before has left */
        const int64_t end = document_end[d] - ends[d];
        for (int64_t at = document_start(document_end, d); at < end; at += T - 1) {
            const int64_t length = end - at < T - 1 ? end - at : T - 1;
            const bool fresh = used + length + 1 > T;
            add(out, fresh, at, length);
            used = (fresh ? 0 : used) + length + 1;
        }
    }
}

/* ---- best fit ------------------------------------------------------------------------------------------ */

/* The rest of a document behind its pieces of T. */
typedef struct rest {
    int64_t from, length;
    int next; /* the rest that follows it in its sample, or -1 */
} rest;

/* Samples being filled, by their free space. */
typedef struct shelf {
    int64_t T;
    int *newest;     /* (T+1) the sample that was put here last, or -1 */
    uint64_t *taken; /* (T+1 bits) set if there is one */
    int older[BEST_FIT_SCOPE], head[BEST_FIT_SCOPE], tail[BEST_FIT_SCOPE]; /* of each sample */
    int samples;
} shelf;

/* Returns the least space of any sample that is at least `length`; -1 if there is none. */
static int64_t least_space(const shelf *s, int64_t length)
{
    const int64_t words = s->T / 64 + 1;
    uint64_t word = s->taken[length / 64] & (~(uint64_t)0 << (length % 64));
    for (int64_t w = length / 64;; word = s->taken[w]) {
        if (word) return 64 * w + __builtin_ctzll(word);
        if (++w == words) return -1;
    }
}

static void shelve(shelf *s, int sample, int64_t space)
{
    s->older[sample] = s->newest[space];
    s->newest[space] = sample;
    s->taken[space / 64] |= (uint64_t)1 << (space % 64);
}

static int unshelve(shelf *s, int64_t space)
{
    const int sample = s->newest[space];
    s->newest[space] = s->older[sample];
    if (s->newest[space] < 0) s->taken[space / 64] &= ~((uint64_t)1 << (space % 64));
    return sample;
}

static void place(shelf *s, rest *r, int i)
{
    const int64_t space = least_space(s, r[i].length);
    const int sample = space < 0 ? s->samples++ : unshelve(s, space);
    if (space < 0)
        s->head[sample] = i;
    else
        r[s->tail[sample]].next = i;
    s->tail[sample] = i;
    shelve(s, sample, (space < 0 ? s->T : space) - r[i].length);
}

/* Orders the longest first, and equal ones as in the shard. */
static int by_length(const void *a, const void *b)
{
    const rest *x = a, *y = b;
    if (x->length != y->length) return x->length < y->length ? 1 : -1;
    return x->from < y->from ? -1 : 1;
}

static void place_rests(pack_plan *out, shelf *s, rest *r, int count)
{
    memset(s->newest, 0xff, sizeof *s->newest * (size_t)(s->T + 1));
    memset(s->taken, 0, sizeof *s->taken * (size_t)(s->T / 64 + 1));
    s->samples = 0;
    qsort(r, (size_t)count, sizeof *r, by_length);
    for (int i = 0; i < count; i++) place(s, r, i);
    for (int sample = 0; sample < s->samples; sample++)
        for (int i = s->head[sample]; i >= 0; i = r[i].next)
            add(out, i == s->head[sample], r[i].from, r[i].length);
}

void pack_plan_best_fit(pack_plan *out, const int64_t *document_end, int64_t documents, int64_t T)
{
    int64_t pieces = 0;
    for (int64_t d = 0; d < documents; d++)
        pieces += (document_end[d] - document_start(document_end, d) - 1 + T - 1) / T;
    plan_init(out, pieces);
    shelf *s = memory_new(1, sizeof *s, "a shelf");
    rest *r = memory_new(BEST_FIT_SCOPE, sizeof *r, "the rests of samples");
    s->T = T;
    s->newest = memory_new(T + 1, sizeof *s->newest, "a shelf");
    s->taken = memory_new(T / 64 + 1, sizeof *s->taken, "a shelf");
    for (int64_t scope = 0; scope < documents; scope += BEST_FIT_SCOPE) {
        int count = 0;
        for (int64_t d = scope; d < documents && d < scope + BEST_FIT_SCOPE; d++) {
            int64_t at = document_start(document_end, d);
            const int64_t last = document_end[d] - 1; /* is a target only */
            for (; last - at >= T; at += T) add(out, true, at, T);
            if (at < last) r[count++] = (rest){.from = at, .length = last - at, .next = -1};
        }
        place_rests(out, s, r, count);
    }
    free(s->newest);
    free(s->taken);
    free(s);
    free(r);
}
