/* Byte pair encoding: a word becomes ids.
 *
 *     h u g s      merges, in the order of the file:  (h,u) 0   (hu,g) 1   (g,s) 2
 *     hu g s       of all neighbours the pair of the smallest rank is merged, leftmost first,
 *     hug s        until no pair is in the list
 *
 * Three things make that fast. A word is cut at places that no merge can cross (bpe_index.c), so that a long
 * word falls into short parts. A part that was seen before comes from the cache (word_cache.c). Merging a
 * short part scans all its neighbours after every merge; a long one keeps them in a heap by rank and place,
 * so that n symbols take n log n: entries whose pair has changed meanwhile are recognised by their rank and
 * dropped. */
#include "base/memory.h"
#include "data/tokenizer/bpe_tables.h"
#include "base/array.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/unicode.h"
#include "data/tokenizer/word_cache.h"
#include <stdlib.h>
#include <string.h>

enum {
    SHORT = 40,        /* symbols that are merged without a heap */
    CUT_FROM = 24,     /* bytes; shorter words are not worth cutting */
    MAX_WORD = 1 << 30 /* bytes without a place to cut */
};

/* A symbol of a long word and the merge with its right neighbour (rank NO_TOKEN: none). */
typedef struct symbol {
    uint32_t id, rank, merged;
    int32_t before, after; /* -1: none */
} symbol;

struct bpe_work {
    const bpe *b;
    word_cache *cache;
    token_list symbols; /* of the word */
    symbol *chain;
    uint64_t *heap; /* rank << 32 | place, the smallest first */
    int64_t chain_capacity, heap_capacity, heap_count;
};

bpe_work *bpe_work_new(const bpe *b)
{
    bpe_work *w = memory_new(1, sizeof *w, "a tokenizer");
    w->b = b;
    w->cache = word_cache_new();
    return w;
}

void bpe_work_free(bpe_work *w)
{
    if (!w) return;
    word_cache_free(w->cache);
    token_list_free(&w->symbols);
    free(w->chain);
    free(w->heap);
    free(w);
}

/* ---- the symbols of a word ----------------------------------------------------------------------------- */

/* Adds a character without a token, spelled as in the file: its bytes' tokens if all exist, else the unknown
 * token, else nothing. As in the library, an unknown token waits for the next known character (*waiting), so
 * that several can be fused. */
static status unknown_character(bpe_work *w, const char *spelled, int bytes, bool *waiting, message *why)
{
    const bpe *b = w->b;
    bool fallback = b->byte_fallback && !b->byte_level;
    for (int i = 0; i < bytes && fallback; i++) fallback = b->byte[(uint8_t)spelled[i]] != NO_TOKEN;
    if (fallback) {
        for (int i = 0; i < bytes; i++) token_list_add(&w->symbols, b->byte[(uint8_t)spelled[i]]);
        return OK;
    }
    if (b->unk_missing)
        return fail(why, ERR_INPUT,
                    "\"%.*s\" has no token, and the unknown token \"%.100s\" is not in the vocabulary", bytes,
                    spelled, b->unk_missing);
    if (b->unk == NO_TOKEN) return OK;
    if (*waiting && !b->fuse_unk) token_list_add(&w->symbols, b->unk);
    *waiting = true;
    return OK;
}

static status find_symbols(bpe_work *w, const char *word, int64_t bytes, message *why)
{
    const bpe *b = w->b;
    bool waiting = false;
    int length;
    w->symbols.count = 0;
    for (int64_t i = 0; i < bytes; i += length) {
        char spelled[4];
        uint32_t id;
        if (b->byte_level)
            length = 1, id = b->byte[(uint8_t)word[i]];
        else
            id = bpe_letter(b, utf8_at(word + i, &length));
        if (id != NO_TOKEN) {
            if (waiting) token_list_add(&w->symbols, b->unk);
            waiting = false;
            token_list_add(&w->symbols, id);
        } else if (b->byte_level) {
            TRY(unknown_character(w, spelled, utf8_put(spelled, byte_alphabet_letter((uint8_t)word[i])),
                                  &waiting, why));
        } else {
            TRY(unknown_character(w, word + i, length, &waiting, why));
        }
    }
    if (waiting) token_list_add(&w->symbols, b->unk);
    return OK;
}

/* ---- merging ------------------------------------------------------------------------------------------- */

static void merge_short(const bpe *b, token_list *symbols)
{
    uint32_t *id = symbols->id, rank[SHORT], merged[SHORT]; /* of a symbol with its right neighbour */
    int64_t n = symbols->count;
    for (int64_t i = 0; i + 1 < n; i++) {
        const merge *m = bpe_merge(b, id[i], id[i + 1]);
        rank[i] = m->rank, merged[i] = m->id;
    }
    while (n > 1) {
        int64_t best = 0;
        for (int64_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_TOKEN) break;
        id[best] = merged[best];
        n--;
        for (int64_t i = best + 1; i < n; i++)
            id[i] = id[i + 1], rank[i - 1] = rank[i], merged[i - 1] = merged[i];
        for (int64_t i = best > 0 ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const merge *m = bpe_merge(b, id[i], id[i + 1]);
            rank[i] = m->rank, merged[i] = m->id;
        }
    }
    symbols->count = n;
}

static void heap_sink(uint64_t *heap, int64_t count, int64_t i)
{
    const uint64_t value = heap[i];
    for (int64_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= value) break;
        heap[i] = heap[child];
    }
    heap[i] = value;
}

static uint64_t heap_pop(bpe_work *w)
{
    const uint64_t top = w->heap[0];
    w->heap[0] = w->heap[--w->heap_count];
    if (w->heap_count) heap_sink(w->heap, w->heap_count, 0);
    return top;
}

static void heap_push(bpe_work *w, uint64_t value)
{
    w->heap = array_reserve(w->heap, &w->heap_capacity, w->heap_count + 1, sizeof *w->heap);
    int64_t i = w->heap_count++;
    for (int64_t parent; i > 0 && w->heap[parent = (i - 1) / 2] > value; i = parent)
        w->heap[i] = w->heap[parent];
    w->heap[i] = value;
}

/* Looks up the merge of symbol i with its present right neighbour. */
static bool find_merge(bpe_work *w, int32_t i)
{
    symbol *s = &w->chain[i];
    s->rank = NO_TOKEN;
    if (s->after < 0) return false;
    const merge *m = bpe_merge(w->b, s->id, w->chain[s->after].id);
    s->rank = m->rank, s->merged = m->id;
    return m->rank != NO_TOKEN;
}

static uint64_t heap_entry(const bpe_work *w, int32_t i)
{
    return (uint64_t)w->chain[i].rank << 32 | (uint32_t)i;
}

static void chain_symbols(bpe_work *w)
{
    const int64_t n = w->symbols.count;
    w->chain = array_reserve(w->chain, &w->chain_capacity, n, sizeof *w->chain);
    w->heap = array_reserve(w->heap, &w->heap_capacity, n, sizeof *w->heap);
    w->heap_count = 0;
    for (int32_t i = 0; i < n; i++)
        w->chain[i] = (symbol){.id = w->symbols.id[i], .before = i - 1, .after = i + 1 < n ? i + 1 : -1};
    for (int32_t i = 0; i < n; i++)
        if (find_merge(w, i)) w->heap[w->heap_count++] = heap_entry(w, i);
    for (int64_t i = w->heap_count / 2; i-- > 0;) heap_sink(w->heap, w->heap_count, i);
}

static void merge_long(bpe_work *w)
{
    chain_symbols(w);
    while (w->heap_count) {
        const uint64_t top = heap_pop(w);
        const int32_t i = (int32_t)(uint32_t)top;
        symbol *s = &w->chain[i];
        if (s->rank != top >> 32) continue; /* its neighbour, or itself, has been merged meanwhile */
        symbol *gone = &w->chain[s->after];
        s->id = s->merged;
        s->after = gone->after;
        gone->rank = NO_TOKEN;
        if (s->after >= 0) w->chain[s->after].before = i;
        if (find_merge(w, i)) heap_push(w, heap_entry(w, i));
        if (s->before >= 0 && find_merge(w, s->before)) heap_push(w, heap_entry(w, s->before));
    }
    int64_t n = 0; /* the first symbol is never merged into another */
    for (int32_t i = 0; i >= 0; i = w->chain[i].after) w->symbols.id[n++] = w->chain[i].id;
    w->symbols.count = n;
}

/* ---- words --------------------------------------------------------------------------------------------- */

static void append(token_list *out, const uint32_t *id, int64_t count)
{
    if (!count) return;
    out->id = array_reserve(out->id, &out->capacity, out->count + count, sizeof *out->id);
    memcpy(out->id + out->count, id, sizeof *id * (size_t)count);
    out->count += count;
}

static status encode_part(bpe_work *w, const char *word, int64_t bytes, token_list *out, message *why)
{
    const bool kept = bytes <= WORD_CACHE_LONGEST;
    const uint64_t hash = kept ? word_cache_hash(word, bytes) : 0;
    int64_t count;
    const uint32_t *id = kept ? word_cache_get(w->cache, hash, word, bytes, &count) : NULL;
    if (id) return append(out, id, count), OK;
    if (bytes > MAX_WORD)
        return fail(why, ERR_INPUT, "a word of %lld bytes is too long; at most %d can be", (long long)bytes,
                    MAX_WORD);
    TRY(find_symbols(w, word, bytes, why));
    if (w->symbols.count > SHORT)
        merge_long(w);
    else
        merge_short(w->b, &w->symbols);
    append(out, w->symbols.id, w->symbols.count);
    if (kept) word_cache_put(w->cache, hash, word, bytes, w->symbols.id, w->symbols.count);
    return OK;
}

/* Finds the end of the part that begins at `from`: a place that no merge crosses, or the end of the word. */
static int64_t part_end(const bpe *b, const char *word, int64_t from, int64_t bytes)
{
    if (b->byte_level) {
        int64_t i = from + 1;
        while (i < bytes && bpe_joins(b, (uint8_t)word[i - 1], (uint8_t)word[i])) i++;
        return i;
    }
    int length;
    uint32_t left = utf8_at(word + from, &length);
    for (int64_t i = from + length; i < bytes; i += length) {
        const uint32_t right = utf8_at(word + i, &length);
        if (!bpe_joins(b, left, right)) return i;
        left = right;
    }
    return bytes;
}

status bpe_encode(bpe_work *w, const char *word, int64_t bytes, token_list *out, message *why)
{
    const bpe *b = w->b;
    if (!bytes) return OK;
    const uint32_t whole = b->ignore_merges ? bpe_whole_word(b, word, bytes) : NO_TOKEN;
    if (whole != NO_TOKEN) return token_list_add(out, whole), OK;
    if (!b->joins || bytes < CUT_FROM) return encode_part(w, word, bytes, out, why);
    for (int64_t i = 0, end; i < bytes; i = end) {
        end = part_end(b, word, i, bytes);
        TRY(encode_part(w, word + i, end - i, out, why));
    }
    return OK;
}
