/* A pack index of a small shard, with the hash that it should have, or the checks behind that would never be
 * reached. One that is accepted gives every sample, of pieces that lie in documents and fit. */
#include "data/pack.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { HEADER = 64, HASH = 56, MODE = 12, T = 16 };

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    XXH3_state_t *h = XXH3_createState();
    XXH3_64bits_reset(h);
    XXH3_64bits_update(h, data, HASH);
    XXH3_64bits_update(h, data + HEADER, size - HEADER);
    const uint64_t hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return hash;
}

static void read_all(const pack *p, const shard *s)
{
    for (int64_t i = 0; i < p->samples; i++) {
        pack_piece *piece;
        int pieces;
        int64_t used = 0;
        message why;
        if (pack_read(p, s, i, &piece, &pieces, &why) != OK) abort();
        for (int j = 0; j < pieces; j++) {
            const int64_t end = s->document_end[shard_document(s, piece[j].from)];
            if (piece[j].length < 1 || piece[j].from + piece[j].length > end) abort();
            used += piece[j].length;
        }
        if (used > T) abort();
        free(piece);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int64_t ends[] = {5, 6, 40, 41, 57, 100};
    const shard s = {.path = "x.ds", .token_bytes = 2, .tokens = 100, .document_end = ends, .documents = 6};
    uint8_t *bytes = malloc(size + 1);
    if (!bytes) abort();
    memcpy(bytes, data, size);
    if (size >= HEADER) {
        const uint64_t hash = hash_of(bytes, size);
        memcpy(bytes + HASH, &hash, sizeof hash);
    }
    const bool transmla = size > MODE && bytes[MODE] == PACKING_TRANSMLA;
    const pack_rule rule = {
        .mode = transmla ? PACKING_TRANSMLA : PACKING_BEST_FIT, .T = T, .eos = transmla ? 0 : -1};
    pack p;
    message why;
    if (pack_check(&p, "input", bytes, (int64_t)size, &s, &rule, &why) == OK) {
        strcpy(p.path, fuzz_file("x.pack", bytes, size));
        read_all(&p, &s);
    }
    free(bytes);
    return 0;
}
