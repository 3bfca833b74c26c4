/* Caches the ids of words for one thread. Bounded: when it is full it forgets everything. */
#ifndef REMLA_DATA_TOKENIZER_WORD_CACHE_H
#define REMLA_DATA_TOKENIZER_WORD_CACHE_H
#include <stdint.h>

enum { WORD_CACHE_LONGEST = 64 }; /* bytes of a word that is worth keeping */

typedef struct word_cache word_cache;
word_cache *word_cache_new(void);
void word_cache_free(word_cache *c); /* NULL is fine */

uint64_t word_cache_hash(const char *word, int64_t bytes);
/* Returns the ids, borrowed until the next put, and their number; NULL if the word is not cached. */
const uint32_t *word_cache_get(const word_cache *c, uint64_t hash, const char *word, int64_t bytes,
                               int64_t *count);
void word_cache_put(word_cache *c, uint64_t hash, const char *word, int64_t bytes, const uint32_t *id,
                    int64_t count);

#endif
