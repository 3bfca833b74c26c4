/* The tables of a BPE model: bpe_read.c and bpe_index.c make them of a file, bpe.c encodes with them. Private
 * to these three. */
#ifndef REMLA_DATA_TOKENIZER_BPE_TABLES_H
#define REMLA_DATA_TOKENIZER_BPE_TABLES_H
#include "data/tokenizer/bpe.h"

#define NO_TOKEN UINT32_MAX

/* Open addressing; `pair` is left id << 32 | right id, rank NO_TOKEN where a slot is free. */
typedef struct merge {
    uint64_t pair;
    uint32_t rank, id;
} merge;

/* Tokens of one character: open addressing by code point, id NO_TOKEN where a slot is free. */
typedef struct letter {
    uint32_t code_point, id;
} letter;

/* A token's text within bpe.text; bytes -1: there is no such token. */
typedef struct token_text {
    int64_t at, bytes;
} token_text;

enum { UTF8_JOIN_BITS = 20, BYTE_JOIN_BITS = 16 };

struct bpe {
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    int64_t tokens, ids;
    char *text;
    token_text *spelled; /* per id, as the file has it */
    token_text *raw;     /* per id, as a word has it: the same, or for byte_level the bytes that it spells */
    uint32_t byte[256];  /* byte_level: the token of each byte; else that of "<0x..>"; or NO_TOKEN */
    uint32_t unk;        /* or NO_TOKEN */
    char *unk_missing;   /* the unknown token's name, if it is not in the vocabulary; or NULL */
    letter *letters;
    merge *merges;
    uint64_t letter_mask, merge_mask, word_mask;
    uint32_t *words; /* for ignore_merges: ids by hash of their raw text, NO_TOKEN where free */
    /* Bits by hash of (last character of the left, first of the right) of all merges. If the bit of two
     * neighbours is not set, no merge ever joins them, and a word can be cut there. NULL: words are not cut.
     */
    uint64_t *joins;
};

static inline uint64_t bpe_mix(uint64_t x)
{
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 32;
}

static inline const merge *bpe_merge(const bpe *b, uint32_t left, uint32_t right)
{
    const uint64_t pair = (uint64_t)left << 32 | right;
    for (uint64_t i = bpe_mix(pair) & b->merge_mask;; i = (i + 1) & b->merge_mask) {
        const merge *m = &b->merges[i];
        if (m->pair == pair || m->rank == NO_TOKEN) return m;
    }
}

static inline uint32_t bpe_letter(const bpe *b, uint32_t code_point)
{
    for (uint64_t i = bpe_mix(code_point) & b->letter_mask;; i = (i + 1) & b->letter_mask) {
        const letter *l = &b->letters[i];
        if (l->code_point == code_point || l->id == NO_TOKEN) return l->id;
    }
}

/* Left and right are bytes for byte_level, else code points. */
static inline uint64_t bpe_join_bit(const bpe *b, uint32_t left, uint32_t right)
{
    if (b->byte_level) return left << 8 | right;
    return bpe_mix((uint64_t)left << 32 | right) & ((1u << UTF8_JOIN_BITS) - 1);
}

static inline bool bpe_joins(const bpe *b, uint32_t left, uint32_t right)
{
    const uint64_t bit = bpe_join_bit(b, left, right);
    return b->joins[bit / 64] >> bit % 64 & 1;
}

/* Returns the mask (size - 1) of a hash table for `count` entries: a power of two, at least half of it free.
 */
uint64_t bpe_table_mask(int64_t count);

/* Tells whether every byte that occurs in UTF-8 has a token. */
bool bpe_has_all_bytes(const bpe *b);
/* Fills letters, words and joins from the rest. */
void bpe_index(bpe *b);

/* Returns the token that is this whole word, or NO_TOKEN; only for ignore_merges. */
uint32_t bpe_whole_word(const bpe *b, const char *word, int64_t bytes);

#endif
