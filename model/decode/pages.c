/* A list of unused pages, and for every page a count of its holders. A shared page is never written:
 * appending looks at the page that the next position falls into, and replaces it when another sequence holds
 * it, too. This covers forks as well as sequences that went back into a page which they had shared. */
#include "model/decode/pages.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>

static int64_t pages_of(const pages *p, int64_t positions) { return (positions + p->size - 1) / p->size; }

void pages_init(pages *p, int64_t size, int64_t count, int sequences, int64_t longest)
{
    *p = (pages){.size = size, .count = count, .sequences = sequences, .num_unused = count};
    p->most = pages_of(p, longest);
    p->holders = memory_new(count, sizeof *p->holders, "%lld pages", (long long)count);
    p->unused = memory_new(count, sizeof *p->unused, "%lld pages", (long long)count);
    /* The first pages are taken first: a pool that is never full touches no more memory than it needs. */
    for (int64_t i = 0; i < count; i++) p->unused[i] = (int32_t)(count - 1 - i);
    p->sequence = memory_new(sequences, sizeof *p->sequence, "%d sequences", sequences);
    for (int s = 0; s < sequences; s++)
        p->sequence[s].page = memory_new(p->most, sizeof *p->sequence[s].page, "a table of pages");
}

void pages_free(pages *p)
{
    for (int s = 0; s < p->sequences; s++) free(p->sequence[s].page);
    free(p->sequence);
    free(p->unused);
    free(p->holders);
    *p = (pages){0};
}

const page_sequence *pages_sequence(const pages *p, int sequence)
{
    REQUIRE(sequence >= 0 && sequence < p->sequences && p->sequence[sequence].open,
            "sequence %d of %d is not open", sequence, p->sequences);
    return &p->sequence[sequence];
}

static page_sequence *changed(pages *p, int sequence)
{
    return &p->sequence[pages_sequence(p, sequence) - p->sequence];
}

static int32_t take(pages *p)
{
    REQUIRE(p->num_unused > 0, "all %lld pages are held", (long long)p->count);
    const int32_t page = p->unused[--p->num_unused];
    p->holders[page] = 1;
    return page;
}

static void give_back(pages *p, int32_t page)
{
    if (--p->holders[page] == 0) p->unused[p->num_unused++] = page;
}

int pages_open(pages *p)
{
    for (int s = 0; s < p->sequences; s++)
        if (!p->sequence[s].open) {
            p->sequence[s].open = true;
            p->sequence[s].length = 0;
            return s;
        }
    return -1;
}

int pages_fork(pages *p, int from, int64_t length)
{
    const page_sequence *a = pages_sequence(p, from);
    REQUIRE(length >= 0 && length <= a->length, "%lld positions of a sequence of %lld", (long long)length,
            (long long)a->length);
    const int fork = pages_open(p);
    if (fork < 0) return -1;
    page_sequence *b = &p->sequence[fork];
    b->length = length;
    for (int64_t i = 0; i < pages_of(p, length); i++) {
        b->page[i] = a->page[i];
        p->holders[b->page[i]]++;
    }
    return fork;
}

void pages_rewind(pages *p, int sequence, int64_t length)
{
    page_sequence *a = changed(p, sequence);
    REQUIRE(length >= 0 && length <= a->length, "back to %lld positions in a sequence of %lld",
            (long long)length, (long long)a->length);
    /* From the last one on, so that they are taken in the same order again. */
    for (int64_t i = pages_of(p, a->length) - 1; i >= pages_of(p, length); i--) give_back(p, a->page[i]);
    a->length = length;
}

void pages_close(pages *p, int sequence)
{
    pages_rewind(p, sequence, 0);
    changed(p, sequence)->open = false;
}

/* The next position falls into a page that the sequence shares. */
static bool must_copy(const pages *p, const page_sequence *a)
{
    return a->length % p->size != 0 && p->holders[a->page[a->length / p->size]] > 1;
}

int64_t pages_for(const pages *p, int sequence, int64_t count)
{
    const page_sequence *a = pages_sequence(p, sequence);
    if (count == 0) return 0;
    return pages_of(p, a->length + count) - pages_of(p, a->length) + must_copy(p, a);
}

page_copy pages_append(pages *p, int sequence, int64_t count)
{
    page_sequence *a = changed(p, sequence);
    REQUIRE(count >= 0 && pages_of(p, a->length + count) <= p->most,
            "%lld positions behind %lld in a sequence of %lld pages", (long long)count, (long long)a->length,
            (long long)p->most);
    page_copy copy = {0};
    if (count > 0 && must_copy(p, a)) {
        int32_t *last = &a->page[a->length / p->size];
        copy = (page_copy){.from = *last, .to = take(p), .positions = a->length % p->size};
        give_back(p, *last);
        *last = copy.to;
    }
    for (int64_t i = pages_of(p, a->length); i < pages_of(p, a->length + count); i++) a->page[i] = take(p);
    a->length += count;
    return copy;
}

int32_t pages_row(const pages *p, int sequence, int64_t position)
{
    const page_sequence *a = pages_sequence(p, sequence);
    REQUIRE(position >= 0 && position < a->length, "position %lld of %lld", (long long)position,
            (long long)a->length);
    return (int32_t)(a->page[position / p->size] * p->size + position % p->size);
}
