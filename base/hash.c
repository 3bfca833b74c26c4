/* A thin layer over xxhash: memory for its state is checked once, here, and taking the value frees it. */
#include "base/hash.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

hash_state *hash_start(void)
{
    hash_state *h = memory_check(XXH3_createState(), "a hash");
    XXH3_64bits_reset(h);
    return h;
}

void hash_update(hash_state *h, const void *data, int64_t bytes)
{
    if (h) XXH3_64bits_update(h, data, (size_t)bytes);
}

uint64_t hash_value(const hash_state *h) { return h ? XXH3_64bits_digest(h) : 0; }

uint64_t hash_finish(hash_state *h)
{
    const uint64_t value = hash_value(h);
    XXH3_freeState(h);
    return value;
}

void hash_text(char out[HASH_TEXT], uint64_t hash) { snprintf(out, HASH_TEXT, "%016" PRIx64, hash); }

bool hash_parse(const char *text, uint64_t *hash)
{
    if (strlen(text) != HASH_TEXT - 1 || strspn(text, "0123456789abcdef") != HASH_TEXT - 1) return false;
    *hash = strtoull(text, NULL, 16);
    return true;
}
