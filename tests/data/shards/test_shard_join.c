/* Shards of equal size: the same documents in the same order, cut where a walk over all documents says, for
 * sources and documents of all sizes, and the same bytes for any number of threads. */
#include "data/shards/shard_join.h"
#include "base/file.h"
#include "data/shards/shard.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { DOCUMENTS = 400, SOURCES = 5, V = 60000 };
static message why;
static int64_t length[DOCUMENTS]; /* of each document, in tokens; token t of everything is t % V */
static int documents;
static int64_t total, tokens[SOURCES];
static char path[SOURCES][256];
static int sources;

/* Documents of up to `longest` tokens, spread over the sources in lots of changing size. */
static void make_sources(int count, int64_t longest, uint32_t seed)
{
    const shard_identity identity = {.token_bytes = 2, .vocabulary = V, .eos = -1, .bos = -1, .pad = -1};
    uint32_t x = seed;
    int d = 0;
    documents = count;
    total = 0;
    sources = 0;
    while (d < count) {
        shard_writer *w;
        shard_summary summary;
        char name[32];
        snprintf(name, sizeof name, "in-%d.ds", sources);
        snprintf(path[sources], sizeof path[0], "%s", scratch_path(name));
        assert_int_equal(shard_writer_create(&w, path[sources], &identity, &why), OK);
        const int last = sources == SOURCES - 1 ? count : d + 1 + count * (sources + 1) / 20;
        for (; d < count && d < last; d++) {
            x = x * 1664525u + 1013904223u;
            length[d] = 1 + (x >> 16) % longest;
            for (int64_t i = 0; i < length[d]; i++) {
                const uint32_t id = (uint32_t)((total + i) % V);
                assert_int_equal(shard_writer_append(w, &id, 1, &why), OK);
            }
            total += length[d];
            assert_int_equal(shard_writer_end_document(w, &why), OK);
        }
        assert_int_equal(shard_writer_finish(w, &summary, &why), OK);
        tokens[sources++] = summary.tokens;
    }
}

static status join(int64_t shard_tokens, int threads, const char *folder, shard_summary **summary,
                   int64_t *shards)
{
    static const shard_identity identity = {
        .token_bytes = 2, .vocabulary = V, .eos = 1, .bos = -1, .pad = -1};
    const char *from[SOURCES];
    for (int i = 0; i < sources; i++) from[i] = path[i];
    const shard_join j = {.from = from,
                          .tokens = tokens,
                          .count = sources,
                          .folder = folder,
                          .suffix = ".ds",
                          .identity = &identity,
                          .shard_tokens = shard_tokens,
                          .threads = threads};
    assert_int_equal(folder_remove(folder, &why), OK);
    assert_int_equal(folder_make(folder, &why), OK);
    return shard_join_run(&j, comm_self(), summary, shards, &why);
}

/* Walks over the documents as the definition says, and compares. */
static void check(int64_t shard_tokens, const char *folder, const shard_summary *summary, int64_t shards)
{
    const int64_t n = (total + shard_tokens - 1) / shard_tokens;
    int64_t written = 0, at = 0;
    int d = 0;
    for (int64_t k = 0; k < n; k++) {
        const int64_t bound = (k + 1) * total / n, first = at;
        const int first_document = d;
        while (at < bound) at += length[d++];
        if (at == first) continue;
        char name[64], file[512];
        snprintf(name, sizeof name, "tokens-%05d.ds", (int)written);
        assert_string_equal(summary[written].name, name);
        shard s;
        assert_int_equal(shard_open(&s, path_join(file, folder, name), &why), OK);
        assert_int_equal(s.tokens, at - first);
        assert_int_equal(s.documents, d - first_document);
        int32_t *id = malloc(sizeof *id * (size_t)s.tokens);
        assert_int_equal(shard_read(&s, 0, s.tokens, V, id, &why), OK);
        for (int64_t i = 0; i < s.tokens; i++) assert_int_equal(id[i], (first + i) % V);
        int64_t end = 0;
        for (int i = 0; i < s.documents; i++) {
            end += length[first_document + i];
            assert_int_equal(s.document_end[i], end);
        }
        free(id);
        shard_close(&s);
        written++;
    }
    assert_int_equal(d, documents);
    assert_int_equal(shards, written);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        int documents;
        int64_t longest;
    } inputs[] = {{DOCUMENTS, 9}, {1, 1000}, {30, 3000}, {7, 1}, {60, 20000}};
    static const int64_t sizes[] = {1, 10, 333, 100000, 1000000000000};
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("out"));
    for (int i = 0; i < 5; i++) {
        make_sources(inputs[i].documents, inputs[i].longest, (uint32_t)i);
        for (int k = 0; k < 5; k++) {
            if (total / sizes[k] > 300) continue;
            shard_summary *summary;
            int64_t shards;
            if (join(sizes[k], 2, folder, &summary, &shards) != OK) fail_msg("%s", why.text);
            check(sizes[k], folder, summary, shards);
            free(summary);
        }
    }
}

static void test_threads(void **state)
{
    (void)state;
    make_sources(200, 500, 7);
    shard_summary *one, *other;
    int64_t shards;
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("out"));
    assert_int_equal(join(1000, 1, folder, &one, &shards), OK);
    for (int threads = 2; threads <= 4; threads++) {
        assert_int_equal(join(1000, threads, folder, &other, &shards), OK);
        assert_memory_equal(one, other, sizeof *one * (size_t)shards);
        free(other);
    }
    free(one);
}

static void test_refused(void **state)
{
    (void)state;
    shard_summary *summary;
    int64_t shards;
    char folder[256];
    snprintf(folder, sizeof folder, "%s", scratch_path("out"));
    make_sources(300, 1000, 3);
    assert_int_equal(join(1, 2, folder, &summary, &shards), ERR_USAGE);
    if (!strstr(why.text, "at most 100000 are possible")) fail_msg("%s", why.text);
    free(summary);
    /* Of several damaged sources that of the first shard is named, for any number of threads. */
    for (int i = 1; i < 3; i++) {
        FILE *file = fopen(path[i], "r+b");
        fseek(file, 10, SEEK_SET);
        fputs("\xff\xff", file); /* id 65535 */
        fclose(file);
    }
    for (int threads = 1; threads <= 3; threads++) {
        assert_int_equal(join(1000, threads, folder, &summary, &shards), ERR_INPUT);
        if (!strstr(why.text, "in-1.ds: token 5 has id 65535")) fail_msg("%s", why.text);
        free(summary);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
