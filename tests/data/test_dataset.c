/* Windows, targets and masks against the definition, worked out the slow way: for every pair of positions,
 * from the documents. */
#include "data/dataset.h"
#include "data/shards/dataset_json.h"
#include "data/shards/shard_writer.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

enum { MOST = 64, V = 1000 };
static bool skipped;

/* Two shards of different widths and lengths; the ids tell shard and place. */
static const uint64_t ends_a[] = {1, 5, 6, 12, 16, 23, 30}, ends_b[] = {9, 10, 11};
static uint32_t id_a(int64_t i) { return (uint32_t)(100 + i); }
static uint32_t id_b(int64_t i) { return (uint32_t)(500 + i); }

static void write_shards(void)
{
    uint32_t a[30], b[11];
    for (int i = 0; i < 30; i++) a[i] = id_a(i);
    for (int i = 0; i < 11; i++) b[i] = id_b(i);
    scratch_shard("a.ds", 2, a, 30, ends_a, 7);
    scratch_shard("b.ds", 4, b, 11, ends_b, 3);
}

static status open_set(dataset *d, const char *key, const char *const *patterns, int count, int64_t T,
                       int64_t vocabulary, bool mask, message *why)
{
    const dataset_form form = {.T = T, .vocabulary = vocabulary, .document_mask = mask};
    return dataset_open(d, key, patterns, count, &form, why);
}

static status open_both(dataset *d, int64_t T, bool mask, message *why)
{
    write_shards();
    const char *const patterns[] = {scratch_path("a.ds"), scratch_path("b.ds")};
    return open_set(d, "data.train", patterns, 2, T, V, mask, why);
}

/* The document of token i, and where it begins, by walking. */
static int64_t document_start(const uint64_t *end, int64_t i)
{
    int64_t start = 0;
    while ((int64_t)*end <= i) start = (int64_t)*end++;
    return start;
}

static void expect_window(const dataset *d, int64_t w, bool in_b, int64_t from, bool mask)
{
    enum { ROW = 1 };
    token_batch b;
    token_batch_init(&b, 3, d->T);
    int64_t want_counted = 0;
    const uint64_t *ends = in_b ? ends_b : ends_a;
    message why = {""};
    if (dataset_read(d, w, &b, ROW, &why) != OK) fail_msg("%s", why.text);
    const token_batch row = token_batch_view(&b, ROW, 1);
    for (int64_t t = 0; t < d->T; t++) {
        const int64_t at = from + t, start = document_start(ends, at);
        const bool counts = !mask || document_start(ends, at + 1) == start;
        const int64_t want = in_b ? id_b(at + 1) : id_a(at + 1);
        assert_int_equal(row.tokens[t], in_b ? id_b(at) : id_a(at));
        assert_int_equal(row.targets[t], counts ? want : -1);
        assert_int_equal(row.first[t], mask && start > from ? start - from : 0);
        want_counted += counts;
    }
    assert_int_equal(token_batch_counted(&row), want_counted);
    for (int64_t t = 0; t < d->T; t++) /* the sequences beside it */
        assert_true(!b.tokens[t] && !b.targets[t] && !b.tokens[2 * d->T + t] && !b.targets[2 * d->T + t]);
    token_batch_free(&b);
}

static void test_windows(void **state)
{
    (void)state;
    for (int mask = 0; mask <= 1; mask++)
        for (int64_t T = 1; T <= 10; T++) {
            dataset d;
            message why = {""};
            if (open_both(&d, T, mask, &why) != OK) fail_msg("%s", why.text);
            const int64_t in_a = 29 / T, in_b = 10 / T;
            assert_int_equal(d.samples, in_a + in_b);
            for (int64_t w = 0; w < in_a; w++) expect_window(&d, w, false, w * T, mask);
            for (int64_t w = 0; w < in_b; w++) expect_window(&d, in_a + w, true, w * T, mask);
            dataset_close(&d);
            assert_null(d.shard);
        }
}

/* n*T+1 tokens are n windows, and every token but the first is a target once. */
static void test_fixture(void **state)
{
    (void)state;
    const char *path = fixture_path("train.ds");
    skipped = !path;
    if (skipped) skip();
    const char *const patterns[] = {path};
    for (int mask = 0; mask <= 1; mask++) {
        dataset d;
        message why = {""};
        assert_int_equal(open_set(&d, "data.train", patterns, 1, 64, 257, mask, &why), OK);
        assert_int_equal(d.samples, 8);
        token_batch b;
        token_batch_init(&b, 8, 64);
        for (int64_t w = 0; w < 8; w++) assert_int_equal(dataset_read(&d, w, &b, w, &why), OK);
        assert_int_equal(token_batch_counted(&b), mask ? 512 - 4 : 512); /* five documents: four borders */
        token_batch_free(&b);
        dataset_close(&d);
    }
}

static uint64_t fingerprint_of(int64_t T, const char *path, bool content)
{
    dataset d;
    message why = {""};
    if (open_set(&d, "data.train", (const char *const *)&path, 1, T, V, true, &why) != OK)
        fail_msg("%s", why.text);
    const uint64_t f = dataset_fingerprint(&d, content);
    dataset_close(&d);
    return f;
}

/* The same shards give the same fingerprint wherever they lie and however they are cut; other documents,
 * lengths or widths another. */
static void test_fingerprint(void **state)
{
    (void)state;
    static const uint32_t ids[12];
    const uint64_t want =
        fingerprint_of(4, scratch_shard("f.ds", 2, ids, 12, (const uint64_t[]){5, 12}, 2), false);
    assert_true(fingerprint_of(3, scratch_shard("elsewhere.ds", 2, ids, 12, (const uint64_t[]){5, 12}, 2),
                               false) == want);
    assert_true(fingerprint_of(4, scratch_shard("f.ds", 4, ids, 12, (const uint64_t[]){5, 12}, 2), false) !=
                want);
    assert_true(fingerprint_of(4, scratch_shard("f.ds", 2, ids, 12, (const uint64_t[]){6, 12}, 2), false) !=
                want);
    assert_true(fingerprint_of(4, scratch_shard("f.ds", 2, ids, 12, (const uint64_t[]){12}, 1), false) !=
                want);
    assert_true(fingerprint_of(4, scratch_shard("f.ds", 2, ids, 11, (const uint64_t[]){5, 11}, 2), false) !=
                want);
}

static shard_summary write_shard(const char *path, const uint32_t *ids, int64_t vocabulary)
{
    message why = {""};
    shard_writer *w;
    shard_summary summary;
    const shard_identity i = {.token_bytes = 2, .vocabulary = vocabulary, .eos = -1, .bos = -1, .pad = -1};
    assert_int_equal(shard_writer_create(&w, path, &i, &why), OK);
    assert_int_equal(shard_writer_append(w, ids, 5, &why), OK);
    assert_int_equal(shard_writer_end_document(w, &why), OK);
    assert_int_equal(shard_writer_append(w, ids + 5, 7, &why), OK);
    if (shard_writer_finish(w, &summary, &why) != OK) fail_msg("%s", why.text);
    return summary;
}

/* Where hashes of the ids are known, other ids are other data; what is known of the sizes stays the same. */
static void test_fingerprint_of_content(void **state)
{
    (void)state;
    uint32_t ids[12] = {0};
    char folder[256], raw[PATH_BYTES], zst[PATH_BYTES];
    message why = {""};
    snprintf(folder, sizeof folder, "%s", scratch_path("content"));
    assert_int_equal(folder_make(folder, &why), OK);
    path_join(raw, folder, "f.ds");
    path_join(zst, folder, "f.ds.zst");
    for (int listed = 0; listed < 2; listed++) {
        uint64_t with[3][2], without[3][2];
        for (int k = 0; k < 3; k++) {
            ids[7] = k == 1;
            remove(zst);
            const shard_summary a = write_shard(raw, ids, V), b = write_shard(zst, ids, V);
            const shard_identity i = {.token_bytes = 2, .vocabulary = V, .eos = -1, .bos = -1, .pad = -1};
            if (listed)
                assert_int_equal(dataset_manifest_write(folder, &i, (shard_summary[]){a, b}, 2, &why), OK);
            with[k][0] = fingerprint_of(4, raw, true);
            with[k][1] = fingerprint_of(4, zst, true);
            without[k][0] = fingerprint_of(4, raw, false);
            without[k][1] = fingerprint_of(4, zst, false);
        }
        for (int z = 0; z < 2; z++) {
            assert_true(with[0][z] == with[2][z]);
            assert_true((with[0][z] != with[1][z]) == (z || listed));
            assert_true(without[0][z] == without[1][z]);
        }
        assert_true(without[0][0] == without[0][1]);
        if (!listed) assert_true(with[0][0] == without[0][0]);
    }
}

static void expect_refused(const char *pattern, int64_t T, const char *text)
{
    dataset d;
    message why = {""};
    assert_int_equal(open_set(&d, "data.val", &pattern, 1, T, V, true, &why), ERR_INPUT);
    if (!strstr(why.text, text)) fail_msg("expected \"%s\" in: %s", text, why.text);
    assert_null(d.shard);
    assert_int_equal(d.samples, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    write_shards();
    expect_refused(scratch_path("nothing*.ds"), 4, "nothing*.ds");
    expect_refused(scratch_path("nothing*.ds"), 4, "data.val");
    expect_refused(scratch_path("b.ds"), 11, "b.ds holds 11 tokens, but one window of 11 needs 12");
    expect_refused(scratch_path("[ab].ds"), 11, "b.ds holds 11 tokens"); /* after a good one */
}

static void test_bad_id_in_a_window(void **state)
{
    (void)state;
    uint32_t ids[9] = {0};
    ids[8] = V; /* only the last target of window 1 */
    dataset d;
    message why = {""};
    const char *path = scratch_shard("bad.ds", 2, ids, 9, NULL, 0);
    token_batch b;
    token_batch_init(&b, 1, 4);
    assert_int_equal(open_set(&d, "data.train", &path, 1, 4, V, true, &why), OK);
    assert_int_equal(dataset_read(&d, 0, &b, 0, &why), OK);
    assert_int_equal(dataset_read(&d, 1, &b, 0, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "token 8 has id 1000"));
    token_batch_free(&b);
    dataset_close(&d);
}

/* More shards than there may be open files. */
static void test_many_shards(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    enum { SHARDS = 200 };
    static const char *patterns[SHARDS];
    const uint32_t ids[] = {1, 2};
    const char *path = scratch_shard("one.ds", 2, ids, 2, NULL, 0);
    for (int i = 0; i < SHARDS; i++) patterns[i] = path;
    dataset d;
    message why = {""};
    if (open_set(&d, "data.train", patterns, SHARDS, 1, V, true, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(d.samples, SHARDS);
    token_batch b;
    token_batch_init(&b, SHARDS, 1);
    for (int i = 0; i < SHARDS; i++) assert_int_equal(dataset_read(&d, i, &b, i, &why), OK);
    assert_int_equal(token_batch_counted(&b), SHARDS);
    token_batch_free(&b);
    dataset_close(&d);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void test_another_vocabulary(void **state)
{
    (void)state;
    const uint32_t ids[12] = {0};
    const char *path = scratch_path("vocabulary.ds.zst");
    write_shard(path, ids, V + 1);
    expect_refused(path, 4, "vocabulary.ds.zst holds ids of a vocabulary of ");
}

/* A shard is replaced behind the back of its dataset.json. */
static void test_other_than_listed(void **state)
{
    (void)state;
    uint32_t ids[12] = {0};
    char folder[256], path[PATH_BYTES];
    message why = {""};
    const shard_identity i = {.token_bytes = 2, .vocabulary = V + 1, .eos = -1, .bos = -1, .pad = -1};
    snprintf(folder, sizeof folder, "%s", scratch_path("listed"));
    assert_int_equal(folder_make(folder, &why), OK);
    const shard_summary s = write_shard(path_join(path, folder, "f.ds"), ids, V);
    assert_int_equal(dataset_manifest_write(folder, &i, &s, 1, &why), OK);
    expect_refused(path, 4, "f.ds holds ids of a vocabulary of "); /* the list knows */
    scratch_write("listed/f.ds", ids, 22);
    scratch_text("listed/f.ds.metadata", "t|2\n11\n11");
    scratch_write("listed/f.ds.index", (const uint64_t[]){5, 11}, 16);
    expect_refused(path, 4, "has 22 bytes, but ");
    scratch_text("listed/dataset.json", "{");
    expect_refused(path, 4, "dataset.json: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_fixture),
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_fingerprint_of_content),
        cmocka_unit_test(test_another_vocabulary),
        cmocka_unit_test(test_other_than_listed),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bad_id_in_a_window),
        cmocka_unit_test(test_many_shards),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return skipped && !failed ? SKIPPED_CODE : failed;
}
