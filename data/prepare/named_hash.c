/* Hashes by name: nettle knows SHA, MD5 and others by the names of hashlib; xxhash's four are a table here.
 */
#include "data/prepare/named_hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/digest.h"
#include <nettle/nettle-meta.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef enum xxh { XXH_NONE, XXH_32, XXH_64, XXH_3_64, XXH_3_128 } xxh;

struct named_hash {
    const struct nettle_hash *nettle; /* NULL: one of xxhash's */
    xxh kind;
    void *state;
};

static xxh xxhash_kind(const char *name)
{
    static const struct {
        const char *name;
        xxh kind;
    } kinds[] = {{"xxh32", XXH_32},
                 {"xxh64", XXH_64},
                 {"xxh3_64", XXH_3_64},
                 {"xxh3_128", XXH_3_128},
                 {"xxh128", XXH_3_128}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(kinds[i].name, name)) return kinds[i].kind;
    return XXH_NONE;
}

static void *xxhash_start(xxh kind)
{
    void *state = kind == XXH_32   ? (void *)XXH32_createState()
                  : kind == XXH_64 ? (void *)XXH64_createState()
                                   : (void *)XXH3_createState();
    if (!state) return NULL;
    if (kind == XXH_32) XXH32_reset(state, 0);
    if (kind == XXH_64) XXH64_reset(state, 0);
    if (kind == XXH_3_64) XXH3_64bits_reset(state);
    if (kind == XXH_3_128) XXH3_128bits_reset(state);
    return state;
}

named_hash *named_hash_start(const char *name)
{
    const struct nettle_hash *nettle = nettle_lookup_hash(name);
    const xxh kind = xxhash_kind(name);
    if (!nettle && kind == XXH_NONE) return NULL;
    named_hash *h = memory_new(1, sizeof *h, "a hash");
    void *state =
        nettle ? memory_new(1, nettle->context_size, "a hash") : memory_check(xxhash_start(kind), "a hash");
    *h = (named_hash){nettle, kind, state};
    if (nettle) nettle->init(state);
    return h;
}

void named_hash_update(named_hash *h, const void *data, size_t bytes)
{
    if (h->nettle) h->nettle->update(h->state, bytes, data);
    if (h->kind == XXH_32) XXH32_update(h->state, data, bytes);
    if (h->kind == XXH_64) XXH64_update(h->state, data, bytes);
    if (h->kind == XXH_3_64) XXH3_64bits_update(h->state, data, bytes);
    if (h->kind == XXH_3_128) XXH3_128bits_update(h->state, data, bytes);
}

/* Returns the number of bytes. */
static int xxhash_finish(named_hash *h, uint8_t *out)
{
    XXH32_canonical_t c32;
    XXH64_canonical_t c64;
    XXH128_canonical_t c128;
    if (h->kind == XXH_32) {
        XXH32_canonicalFromHash(&c32, XXH32_digest(h->state));
        XXH32_freeState(h->state);
        memcpy(out, &c32, sizeof c32);
        return sizeof c32;
    }
    if (h->kind == XXH_3_128) {
        XXH128_canonicalFromHash(&c128, XXH3_128bits_digest(h->state));
        XXH3_freeState(h->state);
        memcpy(out, &c128, sizeof c128);
        return sizeof c128;
    }
    XXH64_canonicalFromHash(&c64, h->kind == XXH_64 ? XXH64_digest(h->state) : XXH3_64bits_digest(h->state));
    if (h->kind == XXH_64)
        XXH64_freeState(h->state);
    else
        XXH3_freeState(h->state);
    memcpy(out, &c64, sizeof c64);
    return sizeof c64;
}

void named_hash_finish(named_hash *h, char out[NAMED_HASH_TEXT])
{
    uint8_t bytes[(NAMED_HASH_TEXT - 1) / 2];
    int count = 0;
    if (h->nettle) {
        count = (int)h->nettle->digest_size;
        REQUIRE(count <= (int)sizeof bytes, "%s has %d bytes", h->nettle->name, count);
        h->nettle->digest(h->state, (size_t)count, bytes);
        free(h->state);
    } else {
        count = xxhash_finish(h, bytes);
    }
    digest_hex_write(out, bytes, count);
    free(h);
}
