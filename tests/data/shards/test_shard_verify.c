/* Verifying a folder: a flipped bit in any byte of any data file or index is found, and what is missing,
 * unlisted or of another tokenizer has its sentence. */
#include "data/shards/dataset_json.h"
#include "data/shards/shard_verify.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TOKENS = 60, VOCABULARY = 900 };
static char folder[256];

static void good(status s, const message *why)
{
    if (s != OK) fail_msg("%s", why->text);
}

static shard_identity identity(void)
{
    shard_identity i = {.token_bytes = 2, .vocabulary = VOCABULARY, .eos = 7, .bos = -1, .pad = -1};
    memset(i.tokenizer_sha256, 'b', 64);
    return i;
}

static const char *in_folder(const char *name)
{
    static char path[8][PATH_BYTES];
    static int turn;
    return path_join(path[turn++ % 8], folder, name);
}

static shard_summary write_shard(const char *name, const shard_identity *i, uint32_t last)
{
    message why = {""};
    shard_writer *w;
    shard_summary summary;
    good(shard_writer_create(&w, in_folder(name), i, &why), &why);
    for (uint32_t k = 0; k < TOKENS; k++) {
        const uint32_t id = k == TOKENS - 1 ? last : k * 31 % VOCABULARY;
        good(shard_writer_append(w, &id, 1, &why), &why);
        if (k % 9 == 8) good(shard_writer_end_document(w, &why), &why);
    }
    good(shard_writer_finish(w, &summary, &why), &why);
    return summary;
}

static int setup(void **state)
{
    (void)state;
    message why = {""};
    const shard_identity i = identity();
    snprintf(folder, sizeof folder, "%s", scratch_path("set"));
    folder_remove(folder, &why);
    good(folder_make(folder, &why), &why);
    const shard_summary s[] = {write_shard("a.ds", &i, 1), write_shard("b.ds.zst", &i, 2)};
    good(dataset_manifest_write(folder, &i, s, 2, &why), &why);
    return 0;
}

/* The folder, whole. */
static status verify(verified *sum, message *why)
{
    char *argument = folder;
    path_list list;
    listed l = {0};
    *sum = (verified){0};
    TRY(shard_verify_find(&list, &argument, 1, why));
    status s = OK;
    for (int i = 0; i < list.count && s == OK; i++) {
        verified v;
        s = shard_verify(&v, &l, list.path[i], why);
        if (s != OK) continue;
        sum->tokens += v.tokens;
        sum->documents += v.documents;
        sum->bytes += v.bytes;
        sum->listed += v.listed;
    }
    path_list_free(&list);
    listed_free(&l);
    return s;
}

static void expect_damage(const char *text)
{
    verified v;
    message why = {""};
    assert_int_equal(verify(&v, &why), ERR_INPUT);
    if (!strstr(why.text, text)) fail_msg("expected \"%s\" in: %s", text, why.text);
}

static void test_good(void **state)
{
    (void)state;
    verified v;
    message why = {""};
    good(verify(&v, &why), &why);
    assert_int_equal(v.tokens, 2 * TOKENS);
    assert_int_equal(v.documents, 14);
    assert_int_equal(v.listed, 1);
    assert_int_equal(v.bytes, file_bytes(in_folder("a.ds")) + file_bytes(in_folder("b.ds.zst")));
}

static void test_every_byte(void **state)
{
    (void)state;
    static const char *const names[] = {"a.ds", "a.ds.index", "b.ds.zst", "b.ds.index"};
    for (int n = 0; n < 4; n++) {
        int64_t bytes;
        char *file, path[300];
        message why = {""};
        snprintf(path, sizeof path, "set/%s", names[n]);
        good(file_read_text(in_folder(names[n]), 1 << 20, &file, &bytes, &why), &why);
        for (int64_t k = 0; k < bytes; k++) {
            const int bit = (int)(k % 8);
            verified v;
            file[k] = (char)(file[k] ^ 1 << bit);
            scratch_write(path, file, bytes);
            file[k] = (char)(file[k] ^ 1 << bit);
            if (verify(&v, &why) != ERR_INPUT) fail_msg("%s, byte %lld", names[n], (long long)k);
            if (!strstr(why.text, folder)) fail_msg("%s", why.text);
        }
        scratch_write(path, file, bytes);
        free(file);
    }
    verified v;
    message why = {""};
    good(verify(&v, &why), &why);
}

static void test_missing(void **state)
{
    (void)state;
    remove(in_folder("a.ds"));
    expect_damage("set/a.ds: is missing");
}

/* A shard that nobody lists is checked for what it says of itself. */
static void test_unlisted(void **state)
{
    (void)state;
    verified v;
    message why = {""};
    const shard_identity i = identity();
    write_shard("c.ds.zst", &i, 3);
    good(verify(&v, &why), &why);
    assert_int_equal(v.tokens, 3 * TOKENS);
    scratch_text("set/d.ds", "abc");
    scratch_text("set/d.ds.metadata", "t|2\n1\n1");
    expect_damage("d.ds: 3 bytes are not a whole number of tokens");
}

static void test_another_header(void **state)
{
    (void)state;
    message why = {""};
    shard_identity i = identity();
    i.eos = 8;
    const shard_summary s = write_shard("b.ds.zst", &i, 2);
    i.eos = 7;
    good(dataset_manifest_write(folder, &i, &s, 1, &why), &why);
    expect_damage("its header names another end-of-text");
}

/* The only damage that hashes cannot see: ids that never were good. */
static void test_ids(void **state)
{
    (void)state;
    message why = {""};
    shard_identity i = identity();
    i.vocabulary = -1;
    const shard_summary s = write_shard("a.ds", &i, VOCABULARY);
    i.vocabulary = VOCABULARY;
    good(dataset_manifest_write(folder, &i, &s, 1, &why), &why);
    expect_damage("a.ds: token 59 has id 900, but the vocabulary has only 900");
}

/* ---- document ends, against the end-of-text id --------------------------------------------------------- */

enum { DOCUMENTS = 20, EACH = 10, EOS = 7 };

/* Documents of ten tokens, the last of each the end-of-text id where `ended` says so; then the index is
 * written again with end `k` moved, and nothing but the tokens can tell. */
static status verify_moved(const char *ended, int inside, int k, int64_t by, int64_t *open, message *why)
{
    const shard_identity i = identity();
    shard_writer *w;
    shard_summary summary;
    verified v;
    listed none = {0};
    int64_t end[DOCUMENTS];
    good(shard_writer_create(&w, in_folder("c.ds.zst"), &i, why), why);
    for (int d = 0; d < DOCUMENTS; d++) {
        for (int t = 0; t < EACH; t++) {
            const bool eos = t == EACH - 1 ? ended[d] == '1' : t == inside;
            good(shard_writer_append(w, &(uint32_t){eos ? EOS : 100}, 1, why), why);
        }
        good(shard_writer_end_document(w, why), why);
        end[d] = EACH * (d + 1);
    }
    good(shard_writer_finish(w, &summary, why), why);
    if (by) {
        end[k] += by;
        scratch_write("set/c.ds.index", end, sizeof end);
    }
    remove(in_folder("dataset.json"));
    const status s = shard_verify(&v, &none, in_folder("c.ds.zst"), why);
    listed_free(&none);
    if (s == OK) *open = v.open_ended;
    return s;
}

static void test_ends(void **state)
{
    (void)state;
    static const char all[] = "11111111111111111111", no[] = "00000000000000000000",
                      most[] = "11111011111101111110";
    int64_t open = -1;
    message why = {""};
    static const int64_t moves[] = {-9, -1, 1, 9};
    for (int k = 0; k < DOCUMENTS - 1; k++)
        for (int m = 0; m < 4; m++) {
            char want[80];
            snprintf(want, sizeof want, "c.ds.index: is damaged: document %d ends at token %d, ", k,
                     (int)(EACH * (k + 1) + moves[m]));
            assert_int_equal(verify_moved(all, -1, k, moves[m], &open, &why), ERR_INPUT);
            if (!strstr(why.text, want)) fail_msg("expected \"%s\" in: %s", want, why.text);
        }
    good(verify_moved(all, -1, 0, 0, &open, &why), &why);
    assert_int_equal(open, 0);
    good(verify_moved(all, 4, 0, 0, &open, &why), &why); /* texts have the token in them */
    assert_int_equal(open, 0);
    good(verify_moved(no, -1, 0, 0, &open, &why), &why); /* they were made without */
    assert_int_equal(open, 0);
    good(verify_moved(most, -1, 0, 0, &open, &why), &why); /* some were cut */
    assert_int_equal(open, 2);
    good(verify_moved(no, 4, 0, 0, &open, &why), &why); /* blocks of one stream */
    assert_int_equal(open, DOCUMENTS - 1);
}

static void test_no_index(void **state)
{
    (void)state;
    assert_int_equal(remove(in_folder("a.ds.index")), 0);
    expect_damage("a.ds: its .index is missing, and ");
}

static void test_arguments(void **state)
{
    (void)state;
    message why = {""};
    path_list list;
    char *manifest = strdup(in_folder("dataset.json")), *other = strdup(in_folder("a.ds.index"));
    good(shard_verify_find(&list, &manifest, 1, &why), &why);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.path[1], in_folder("b.ds.zst"));
    path_list_free(&list);
    assert_int_equal(shard_verify_find(&list, &other, 1, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "is not a shard by its name"));
    char *empty = strdup(scratch_path("empty"));
    good(folder_make(empty, &why), &why);
    assert_int_equal(shard_verify_find(&list, &empty, 1, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "no shards in this folder"));
    free(manifest);
    free(other);
    free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good, setup),           cmocka_unit_test_setup(test_every_byte, setup),
        cmocka_unit_test_setup(test_missing, setup),        cmocka_unit_test_setup(test_unlisted, setup),
        cmocka_unit_test_setup(test_another_header, setup), cmocka_unit_test_setup(test_ids, setup),
        cmocka_unit_test_setup(test_ends, setup),           cmocka_unit_test_setup(test_no_index, setup),
        cmocka_unit_test_setup(test_arguments, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
