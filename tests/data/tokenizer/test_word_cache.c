/* The cache of words: what was put is found until it is driven out, and nothing else is. */
#include "data/tokenizer/word_cache.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { STORE_BYTES = 4 << 20, WORDS = 20000 };

static const uint32_t *get(const word_cache *c, const char *word, int64_t *count)
{
    const int64_t bytes = (int64_t)strlen(word);
    return word_cache_get(c, word_cache_hash(word, bytes), word, bytes, count);
}

static void put(word_cache *c, const char *word, const uint32_t *id, int64_t count)
{
    const int64_t bytes = (int64_t)strlen(word);
    word_cache_put(c, word_cache_hash(word, bytes), word, bytes, id, count);
}

static void test_finds(void **state)
{
    (void)state;
    word_cache *c = word_cache_new();
    char word[32];
    int found = 0;
    for (uint32_t i = 0; i < WORDS; i++) {
        snprintf(word, sizeof word, "%.*s%u", (int)(i % 20), "abcdefghijklmnopqrstuvwxyz", i);
        put(c, word, (const uint32_t[]){i, i + 1, i + 2}, i % 4);
    }
    for (uint32_t i = 0; i < WORDS; i++) {
        snprintf(word, sizeof word, "%.*s%u", (int)(i % 20), "abcdefghijklmnopqrstuvwxyz", i);
        int64_t count;
        const uint32_t *id = get(c, word, &count);
        if (!id) continue; /* another word has its slot */
        assert_int_equal(count, i % 4);
        for (uint32_t k = 0; k < count; k++) assert_int_equal(id[k], i + k);
        found++;
    }
    assert_true(found > WORDS / 2);
    int64_t count;
    assert_null(get(c, "never", &count));
    word_cache_free(c);
}

/* When it has forgotten, an old word is not found where a longer one, which begins like it, lies now. */
static void test_forgets(void **state)
{
    (void)state;
    word_cache *c = word_cache_new();
    int64_t count;
    char word[32];
    put(c, "abcd", (const uint32_t[]){7}, 1);
    assert_non_null(get(c, "abcd", &count));
    for (int i = 0, used = 8; used < STORE_BYTES - 8; i++, used += 8) {
        snprintf(word, sizeof word, "%04d", i % 10000); /* 4 bytes of text and one id */
        put(c, word, (const uint32_t[]){8}, 1);
    }
    put(c, "wxyz1234", (const uint32_t[]){9}, 1); /* the store is full: it starts again with this one */
    put(c, "abcd", (const uint32_t[]){7}, 1);
    assert_int_equal(get(c, "wxyz1234", &count)[0], 9);
    assert_int_equal(get(c, "abcd", &count)[0], 7);
    word_cache_free(c);

    c = word_cache_new();
    put(c, "abcd", (const uint32_t[]){7}, 1);
    for (int used = 8; used <= STORE_BYTES - 8; used += 8) put(c, "efgh", (const uint32_t[]){8}, 1);
    put(c, "abcdijkl", (const uint32_t[]){9}, 1);
    assert_null(get(c, "abcd", &count));
    word_cache_free(c);
}

static void test_long_words(void **state)
{
    (void)state;
    word_cache *c = word_cache_new();
    char word[WORD_CACHE_LONGEST + 2] = {0};
    int64_t count;
    memset(word, 'a', WORD_CACHE_LONGEST);
    put(c, word, (const uint32_t[]){1}, 1);
    assert_non_null(get(c, word, &count));
    word[WORD_CACHE_LONGEST] = 'a';
    put(c, word, (const uint32_t[]){1}, 1);
    assert_null(get(c, word, &count));
    word_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_finds), cmocka_unit_test(test_forgets),
                                       cmocka_unit_test(test_long_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
