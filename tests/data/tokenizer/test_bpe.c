/* Byte pair encoding beside an oracle that knows nothing of heaps, cuts and caches: again and again it looks
 * at all neighbours, by their spelling, and merges the pair that is first in the list, leftmost first. */
#include "data/tokenizer/bpe.h"
#include "tests/support/draw.h"
#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST_TOKENS = 4000, MOST_SYMBOLS = 700, LONGEST = 64 };

static uint64_t seed;

static uint32_t draw(uint32_t below) { return draw_below(&seed, below); }

/* ---- random vocabularies ------------------------------------------------------------------------------- */

typedef struct vocabulary {
    json_t *model;
    char *token[MOST_TOKENS]; /* by id */
    int tokens;
} vocabulary;

static void add_token(vocabulary *v, json_t *vocab, const char *text)
{
    if (json_object_get(vocab, text)) return;
    v->token[v->tokens] = strdup(text);
    json_object_set_new(vocab, text, json_integer(v->tokens++));
}

/* `letters`, then `count` merges of two random tokens, each of which is a token too. */
static void make(vocabulary *v, const char *const *letters, int count, const char *options)
{
    json_t *vocab = json_object(), *merges = json_array();
    *v = (vocabulary){0};
    for (int i = 0; letters[i]; i++) add_token(v, vocab, letters[i]);
    for (int i = 0; i < count; i++) {
        const char *left = v->token[draw((uint32_t)v->tokens)], *right = v->token[draw((uint32_t)v->tokens)];
        char both[2 * LONGEST];
        if (left[0] == '<' || right[0] == '<' || strlen(left) + strlen(right) >= LONGEST) continue;
        strcat(strcpy(both, left), right);
        add_token(v, vocab, both);
        json_array_append_new(merges, json_pack("[ss]", left, right));
    }
    v->model = json_loads(options, 0, NULL);
    assert_non_null(v->model);
    json_object_set_new(v->model, "vocab", vocab);
    json_object_set_new(v->model, "merges", merges);
}

static void discard(vocabulary *v)
{
    json_decref(v->model);
    for (int i = 0; i < v->tokens; i++) free(v->token[i]);
}

static int id_of(const vocabulary *v, const char *text)
{
    const json_t *id = json_object_get(json_object_get(v->model, "vocab"), text);
    return id ? (int)json_integer_value(id) : -1;
}

/* ---- the oracle ---------------------------------------------------------------------------------------- */

static int rank_of(const vocabulary *v, const char *left, const char *right)
{
    const json_t *merges = json_object_get(v->model, "merges"), *pair;
    int rank = -1;
    size_t i;
    json_array_foreach((json_t *)merges, i,
                       pair) if (!strcmp(json_string_value(json_array_get(pair, 0)), left) &&
                                 !strcmp(json_string_value(json_array_get(pair, 1)), right)) rank = (int)i;
    return rank;
}

/* symbols: texts, which the caller frees; returns how many are left. */
static int merge_all(const vocabulary *v, char **symbol, int count)
{
    for (;;) {
        int best = -1, best_rank = 0;
        for (int i = 0; i + 1 < count; i++) {
            const int rank = rank_of(v, symbol[i], symbol[i + 1]);
            if (rank >= 0 && (best < 0 || rank < best_rank)) best = i, best_rank = rank;
        }
        if (best < 0) return count;
        char *both = malloc(strlen(symbol[best]) + strlen(symbol[best + 1]) + 1);
        sprintf(both, "%s%s", symbol[best], symbol[best + 1]);
        free(symbol[best]);
        free(symbol[best + 1]);
        symbol[best] = both;
        count--;
        for (int i = best + 1; i < count; i++) symbol[i] = symbol[i + 1];
    }
}

/* A word as symbols: characters that are tokens, others as the tokens of their bytes when there are such. */
static int symbols_of(const vocabulary *v, const char *word, char **symbol)
{
    int count = 0;
    for (const char *p = word; *p;) {
        char letter[5] = {0};
        int length = 1;
        while ((p[length] & 0xc0) == 0x80) length++;
        memcpy(letter, p, (size_t)length);
        if (id_of(v, letter) >= 0) {
            symbol[count++] = strdup(letter);
        } else {
            for (int i = 0; i < length; i++) {
                symbol[count] = malloc(8);
                sprintf(symbol[count++], "<0x%02X>", (unsigned char)p[i]);
            }
        }
        p += length;
    }
    return count;
}

static void check_word(const vocabulary *v, bpe_work *w, const char *word)
{
    static char *symbol[MOST_SYMBOLS];
    const int count = merge_all(v, symbol, symbols_of(v, word, symbol));
    token_list ids = {0};
    message why;
    assert_int_equal(bpe_encode(w, word, (int64_t)strlen(word), &ids, &why), OK);
    bool same = ids.count == count;
    for (int i = 0; i < count; i++) same = same && (int)ids.id[i] == id_of(v, symbol[i]);
    if (!same) {
        printf("%s: %d tokens are right:", word, count);
        for (int i = 0; i < count; i++) printf(" %s", symbol[i]);
        printf("; found %lld:", (long long)ids.count);
        for (int i = 0; i < ids.count; i++) printf(" %s", v->token[ids.id[i]]);
        fail_msg("wrong tokens");
    }
    for (int i = 0; i < count; i++) free(symbol[i]);
    token_list_free(&ids);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void random_word(char *word, const char *const *letters, int num_letters, int length)
{
    word[0] = 0;
    for (int i = 0; i < length; i++) strcat(word, letters[draw((uint32_t)num_letters)]);
}

static bpe *read_model(const vocabulary *v, bool byte_level)
{
    bpe *b;
    message why;
    if (bpe_read(&b, v->model, 1 << 20, byte_level, "t.json", &why) != OK) fail_msg("%s", why.text);
    return b;
}

/* Short words are merged with an array and long ones with a heap; both cut or not. */
static void check_words(const vocabulary *v, const char *const *letters, int num_letters)
{
    bpe *b = read_model(v, false);
    bpe_work *w = bpe_work_new(b);
    char word[4 * MOST_SYMBOLS + 1];
    for (int i = 0; i < 150; i++) {
        random_word(word, letters, num_letters, 1 + (int)draw(12));
        check_word(v, w, word);
        check_word(v, w, word); /* now from the cache */
    }
    for (int i = 0; i < 12; i++) {
        random_word(word, letters, num_letters, 30 + (int)draw(MOST_SYMBOLS / 4 - 30));
        check_word(v, w, word);
    }
    bpe_work_free(w);
    bpe_free(b);
}

static void test_dense(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "c", "é", NULL};
    for (uint64_t round = 1; round < 20; round++) {
        vocabulary v;
        seed = round;
        make(&v, letters, 60, "{\"type\": \"BPE\"}");
        check_words(&v, letters, 4);
        discard(&v);
    }
}

/* With all bytes to fall back to, words are cut where no merge reaches; here merges are few and far between.
 */
static void test_cut(void **state)
{
    (void)state;
    static const char *const some[] = {"a",  "b", "c", "d", "é",
                                       "漢", "x", "𐍈", "▁", "q"}; /* the last is no token */
    static char bytes[256][8];
    const char *letters[256 + 10] = {0};
    for (int i = 0; i < 256; i++) {
        snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", (unsigned)i);
        letters[i] = bytes[i];
    }
    for (int i = 0; i < 9; i++) letters[256 + i] = some[i];
    for (uint64_t round = 100; round < 112; round++) {
        vocabulary v;
        seed = round;
        make(&v, letters, 1500, "{\"type\": \"BPE\", \"byte_fallback\": true}");
        check_words(&v, some, 10);
        discard(&v);
    }
}

/* An "unknown" token is one per character, or one per run; without one the characters vanish. */
static void test_unknown(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        int count;
        uint32_t id[8];
    } cases[] = {
        {"{\"type\": \"BPE\", \"unk_token\": \"?\"}", 6, {0, 2, 2, 1, 2, 0}},
        {"{\"type\": \"BPE\", \"unk_token\": \"?\", \"fuse_unk\": true}", 5, {0, 2, 1, 2, 0}},
        {"{\"type\": \"BPE\"}", 2, {3, 0}}, /* a and b have come together */
    };
    for (int i = 0; i < 3; i++) {
        vocabulary v = {.model = json_loads(cases[i].options, 0, NULL)};
        json_object_update_new(v.model, json_loads("{\"vocab\": {\"a\": 0, \"b\": 1, \"?\": 2, \"ab\": 3},"
                                                   "\"merges\": [\"a b\"]}",
                                                   0, NULL));
        bpe *b = read_model(&v, false);
        bpe_work *w = bpe_work_new(b);
        token_list ids = {0};
        message why;
        assert_int_equal(bpe_encode(w, "axybza", 6, &ids, &why), OK);
        assert_int_equal(ids.count, cases[i].count);
        for (int k = 0; k < ids.count; k++) assert_int_equal(ids.id[k], cases[i].id[k]);
        token_list_free(&ids);
        bpe_work_free(w);
        bpe_free(b);
        json_decref(v.model);
    }
}

static void test_missing_unknown(void **state)
{
    (void)state;
    json_t *model = json_loads("{\"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"<unk>\"}", 0, NULL);
    const vocabulary v = {.model = model};
    bpe *b = read_model(&v, false);
    bpe_work *w = bpe_work_new(b);
    token_list ids = {0};
    message why;
    assert_int_equal(bpe_encode(w, "a", 1, &ids, &why), OK);
    assert_int_equal(bpe_encode(w, "ab", 2, &ids, &why), ERR_INPUT);
    assert_non_null(
        strstr(why.text, "\"b\" has no token, and the unknown token \"<unk>\" is not in the vocabulary"));
    token_list_free(&ids);
    bpe_work_free(w);
    bpe_free(b);
    json_decref(model);
}

/* Over and over, more words than the cache holds: what it forgets is found again. */
static void test_cache_overflow(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "c", "d", NULL};
    vocabulary v;
    seed = 7;
    make(&v, letters, 40, "{\"type\": \"BPE\"}");
    bpe *b = read_model(&v, false);
    bpe_work *used = bpe_work_new(b);
    token_list ids = {0}, again = {0};
    message why;
    char word[64];
    for (int i = 0; i < 200000; i++) {
        ids.count = again.count = 0;
        random_word(word, letters, 4, 20 + (int)draw(20));
        assert_int_equal(bpe_encode(used, word, (int64_t)strlen(word), &ids, &why), OK);
        if (i % 1000) continue;
        bpe_work *fresh = bpe_work_new(b);
        assert_int_equal(bpe_encode(fresh, word, (int64_t)strlen(word), &again, &why), OK);
        assert_int_equal(ids.count, again.count);
        assert_memory_equal(ids.id, again.id, sizeof *ids.id * (size_t)ids.count);
        bpe_work_free(fresh);
    }
    token_list_free(&ids);
    token_list_free(&again);
    bpe_work_free(used);
    bpe_free(b);
    discard(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),          cmocka_unit_test(test_cut),
        cmocka_unit_test(test_unknown),        cmocka_unit_test(test_missing_unknown),
        cmocka_unit_test(test_cache_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
