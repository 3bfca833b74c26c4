/* The tables that make encoding fast: hash tables of tokens by their character or text, and a bit set of
 * pairs of characters. A merge (left, right) can only happen where the last character of `left` meets the
 * first of `right`. So between two characters whose pair is in no merge a word can be cut, and its parts
 * encoded independently. The bits are hashed: a collision only misses a cut. */
#include "base/memory.h"
#include "data/tokenizer/bpe_tables.h"
#include "data/tokenizer/unicode.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

uint64_t bpe_table_mask(int64_t count)
{
    uint64_t size = 16;
    while (size < 2 * (uint64_t)count) size *= 2;
    return size - 1;
}

/* ---- tokens -------------------------------------------------------------------------------------------- */

static bool is_letter(const bpe *b, int64_t id)
{
    const token_text t = b->raw[id];
    return t.bytes > 0 && utf8_bytes(b->text[t.at]) == t.bytes;
}

static void index_letters(bpe *b)
{
    int64_t count = 0;
    for (int64_t id = 0; id < b->ids; id++) count += !b->byte_level && is_letter(b, id);
    b->letter_mask = bpe_table_mask(count);
    b->letters = memory_new((int64_t)b->letter_mask + 1, sizeof *b->letters, "a vocabulary");
    memset(b->letters, 0xff, sizeof *b->letters * (b->letter_mask + 1));
    for (int64_t id = 0; id < b->ids && count; id++) {
        if (!is_letter(b, id)) continue;
        int bytes;
        const uint32_t code_point = utf8_at(b->text + b->raw[id].at, &bytes);
        uint64_t i = bpe_mix(code_point) & b->letter_mask;
        while (b->letters[i].id != NO_TOKEN) i = (i + 1) & b->letter_mask;
        b->letters[i] = (letter){.code_point = code_point, .id = (uint32_t)id};
    }
}

static uint64_t word_slot(const bpe *b, const char *word, int64_t bytes)
{
    uint64_t i = XXH3_64bits(word, (size_t)bytes) & b->word_mask;
    for (;; i = (i + 1) & b->word_mask) {
        if (b->words[i] == NO_TOKEN) return i;
        const token_text t = b->raw[b->words[i]];
        if (t.bytes == bytes && !memcmp(b->text + t.at, word, (size_t)bytes)) return i;
    }
}

uint32_t bpe_whole_word(const bpe *b, const char *word, int64_t bytes)
{
    return b->words[word_slot(b, word, bytes)];
}

static void index_words(bpe *b)
{
    b->word_mask = bpe_table_mask(b->tokens);
    b->words = memory_new((int64_t)b->word_mask + 1, sizeof *b->words, "a vocabulary");
    memset(b->words, 0xff, sizeof *b->words * (b->word_mask + 1));
    for (int64_t id = 0; id < b->ids; id++)
        if (b->raw[id].bytes > 0)
            b->words[word_slot(b, b->text + b->raw[id].at, b->raw[id].bytes)] = (uint32_t)id;
}

/* ---- where words can be cut ---------------------------------------------------------------------------- */

bool bpe_has_all_bytes(const bpe *b)
{
    for (int byte = 0; byte < 256; byte++) {
        const bool occurs = byte < 0xc0 || (byte >= 0xc2 && byte <= 0xf4); /* in UTF-8 */
        if (occurs && b->byte[byte] == NO_TOKEN) return false;
    }
    return true;
}

static bool is_byte_token(const bpe *b, uint32_t id)
{
    for (int byte = 0; byte < 256; byte++)
        if (b->byte[byte] == id) return true;
    return false;
}

/* Returns the first and last character of a token in a word; false when they are not known (byte tokens and
 * the unknown token stand for any character). */
static bool token_edges(const bpe *b, uint32_t id, uint32_t *first, uint32_t *last)
{
    const token_text t = b->raw[id];
    if (t.bytes <= 0) return false;
    const char *text = b->text + t.at;
    if (b->byte_level) {
        *first = (uint8_t)text[0], *last = (uint8_t)text[t.bytes - 1];
        return true;
    }
    if (id == b->unk || (t.bytes == 6 && is_byte_token(b, id))) return false;
    int64_t end = t.bytes - 1;
    while (end > 0 && ((uint8_t)text[end] & 0xc0) == 0x80) end--;
    int bytes;
    *first = utf8_at(text, &bytes), *last = utf8_at(text + end, &bytes);
    return true;
}

static void index_joins(bpe *b)
{
    /* Without tokens for all bytes, characters may be dropped or fused, and their neighbours would meet: then
     * no word is cut. */
    if (!bpe_has_all_bytes(b) || !(b->byte_level || b->byte_fallback)) return;
    b->joins = memory_new((1 << (b->byte_level ? BYTE_JOIN_BITS : UTF8_JOIN_BITS)) / 64, sizeof *b->joins,
                          "a vocabulary");
    for (uint64_t i = 0; i <= b->merge_mask; i++) {
        const merge *m = &b->merges[i];
        if (m->rank == NO_TOKEN) continue;
        uint32_t first, left, right, last;
        if (!token_edges(b, (uint32_t)(m->pair >> 32), &first, &left) ||
            !token_edges(b, (uint32_t)m->pair, &right, &last)) {
            free(b->joins);
            b->joins = NULL;
            return;
        }
        const uint64_t bit = bpe_join_bit(b, left, right);
        b->joins[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

void bpe_index(bpe *b)
{
    index_letters(b);
    if (b->ignore_merges) index_words(b);
    index_joins(b);
}
