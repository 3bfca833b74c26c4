/* A direct-mapped cache: each hash has one slot, and a new word replaces the old one.
 *
 *     slot[hash % SLOTS] --> store: | ...text (padded) | ids | text | ids | ...free |
 *
 * Texts and ids are appended to `store`, in units of an id. When the store is full, everything is forgotten,
 * which needs no bookkeeping and happens rarely: the words of a language follow Zipf's law, so the frequent
 * ones are back at once. */
#include "data/tokenizer/word_cache.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS = 1 << 16, STORE = 1 << 20 };

typedef struct slot {
    uint32_t tag, at;
    uint16_t bytes, count; /* bytes 0: free */
} slot;

struct word_cache {
    slot slot[SLOTS];
    uint32_t store[STORE];
    uint32_t used;
};

word_cache *word_cache_new(void) { return memory_new(1, sizeof(word_cache), "a cache of words"); }

void word_cache_free(word_cache *c) { free(c); }

uint64_t word_cache_hash(const char *word, int64_t bytes) { return XXH3_64bits(word, (size_t)bytes); }

static uint32_t units(int64_t bytes) { return (uint32_t)((bytes + 3) / 4); }

const uint32_t *word_cache_get(const word_cache *c, uint64_t hash, const char *word, int64_t bytes,
                               int64_t *count)
{
    const slot *s = &c->slot[hash % SLOTS];
    if (s->tag != (uint32_t)(hash >> 32) || s->bytes != bytes ||
        memcmp(c->store + s->at, word, (size_t)bytes) != 0)
        return NULL;
    *count = s->count;
    return c->store + s->at + units(bytes);
}

void word_cache_put(word_cache *c, uint64_t hash, const char *word, int64_t bytes, const uint32_t *id,
                    int64_t count)
{
    const uint32_t need = units(bytes) + (uint32_t)count;
    if (bytes > WORD_CACHE_LONGEST || count > WORD_CACHE_LONGEST) return;
    if (c->used + need > STORE) {
        memset(c->slot, 0, sizeof c->slot);
        c->used = 0;
    }
    slot *s = &c->slot[hash % SLOTS];
    *s = (slot){
        .tag = (uint32_t)(hash >> 32), .at = c->used, .bytes = (uint16_t)bytes, .count = (uint16_t)count};
    memcpy(c->store + c->used, word, (size_t)bytes);
    if (count) memcpy(c->store + c->used + units(bytes), id, sizeof *id * (size_t)count);
    c->used += need;
}
