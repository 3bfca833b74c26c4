/* Shards: what is written byte by byte here comes back as tokens and documents, and every way of being
 * damaged has its sentence. */
#include "data/shards/shard.h"
#include "tests/support/scratch.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const uint32_t tokens[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 300};
enum { COUNT = 10 };

static void open_good(shard *s, const char *path)
{
    message why = {""};
    if (shard_open(s, path, &why) != OK) fail_msg("%s", why.text);
}

static void expect_refused(const char *path, const char *text)
{
    shard s;
    message why = {""};
    assert_int_equal(shard_open(&s, path, &why), ERR_INPUT);
    if (!strstr(why.text, text)) fail_msg("expected \"%s\" in: %s", text, why.text);
    assert_null(s.document_end);
}

static bool skipped;

/* ---- good shards --------------------------------------------------------------------------------------- */

static void expect_tokens(const shard *s)
{
    for (int64_t from = 0; from < COUNT; from++)
        for (int64_t count = 0; count <= COUNT - from; count++) {
            int32_t out[COUNT + 1];
            message why = {""};
            memset(out, 0x55, sizeof out);
            assert_int_equal(shard_read(s, from, count, 301, out, &why), OK);
            for (int64_t i = 0; i < count; i++) assert_int_equal(out[i], tokens[from + i]);
            assert_int_equal(out[count], 0x55555555); /* nothing is written behind */
        }
}

static void test_both_widths(void **state)
{
    (void)state;
    static const uint64_t ends[] = {1, 4, 9, 10};
    static const int document[COUNT] = {0, 1, 1, 1, 2, 2, 2, 2, 2, 3};
    for (int width = 2; width <= 4; width += 2) {
        shard s;
        open_good(&s, scratch_shard("both.ds", width, tokens, COUNT, ends, 4));
        assert_int_equal(s.token_bytes, width);
        assert_int_equal(s.tokens, COUNT);
        assert_int_equal(s.documents, 4);
        expect_tokens(&s);
        for (int i = 0; i < COUNT; i++) assert_int_equal(shard_document(&s, i), document[i]);
        shard_close(&s);
    }
}

static void test_without_index(void **state)
{
    (void)state;
    shard s;
    open_good(&s, scratch_shard("flat.ds", 2, tokens, COUNT, NULL, 0));
    assert_int_equal(s.documents, 1);
    assert_int_equal(s.document_end[0], COUNT);
    assert_int_equal(shard_document(&s, COUNT - 1), 0);
    shard_close(&s);
}

/* Opens a shard and returns what that says on standard error. */
static const char *open_and_listen(shard *s, const char *path)
{
    static char heard[1024];
    const char *log = scratch_path("stderr.txt");
    fflush(stderr);
    const int saved = dup(STDERR_FILENO), file = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    message why = {""};
    const status result = shard_open(s, path, &why);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    heard[pread(file, heard, sizeof heard - 1, 0)] = 0;
    close(file);
    if (result != OK) fail_msg("%s", why.text);
    return heard;
}

static void test_without_metadata(void **state)
{
    (void)state;
    const uint16_t raw[] = {7, 8, 9};
    shard s;
    const char *heard = open_and_listen(&s, scratch_write("bare.ds", raw, sizeof raw));
    assert_non_null(strstr(heard, "bare.ds.metadata: tokens are taken to be 2 bytes wide"));
    assert_int_equal(s.token_bytes, 2);
    assert_int_equal(s.tokens, 3);
    shard_close(&s);
}

/* The largest ids of each width are ids, not negative numbers. */
static void test_large_ids(void **state)
{
    (void)state;
    shard s;
    int32_t out;
    message why = {""};
    open_good(&s, scratch_shard("wide.ds", 2, (const uint32_t[]){65535}, 1, NULL, 0));
    assert_int_equal(shard_read(&s, 0, 1, 65536, &out, &why), OK);
    assert_int_equal(out, 65535);
    shard_close(&s);
    open_good(&s, scratch_shard("wide.ds", 4, (const uint32_t[]){4294967295u}, 1, NULL, 0));
    assert_int_equal(shard_read(&s, 0, 1, INT32_MAX, &out, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "token 0 has id 4294967295"));
    shard_close(&s);
}

static void test_fixture(void **state)
{
    (void)state;
    const char *path = fixture_path("train.ds");
    skipped = !path;
    if (skipped) skip();
    shard s;
    open_good(&s, path);
    assert_int_equal(s.tokens, 513);
    assert_int_equal(s.documents, 5);
    assert_int_equal(s.document_end[4], 513);
    int32_t last;
    message why = {""};
    assert_int_equal(shard_read(&s, s.document_end[0] - 1, 1, 257, &last, &why), OK);
    assert_int_equal(last, 256); /* <|endoftext|> */
    shard_close(&s);
}

/* ---- bad ones ------------------------------------------------------------------------------------------ */

static void test_bad_ids(void **state)
{
    (void)state;
    shard s;
    int32_t out[COUNT];
    message why = {""};
    const char *path = scratch_shard("ids.ds", 2, tokens, COUNT, NULL, 0);
    open_good(&s, path);
    assert_int_equal(shard_read(&s, 2, 8, 300, out, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "token 9 has id 300, but the vocabulary has only 300"));
    assert_non_null(strstr(why.text, path));
    shard_close(&s);
}

static void test_bad_sizes(void **state)
{
    (void)state;
    expect_refused(scratch_path("missing.ds"), "missing.ds");
    expect_refused(scratch_text("empty.ds", ""), "empty.ds: the shard is empty");
    scratch_text("odd.ds.metadata", "t|2\n1\n1");
    expect_refused(scratch_text("odd.ds", "abc"), "3 bytes are not a whole number of tokens of 2 bytes");
    scratch_text("wide6.ds.metadata", "t|4\n1\n1");
    expect_refused(scratch_text("wide6.ds", "abcdef"), "6 bytes are not a whole number of tokens of 4 bytes");
    scratch_text("short.ds.metadata", "t|2\n513\n513");
    expect_refused(scratch_text("short.ds", "abcd"), "holds 2 tokens (4 bytes, 2 each)");
    expect_refused(scratch_path("short.ds"), "short.ds.metadata says 513");
    expect_refused(scratch_path("short.ds.metadata"), "is not a shard");
}

static void test_bad_metadata(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expect;
    } cases[] = {
        {"", "line 1 is \"\""},
        {"tokenizer\n2\n", "line 1 is \"tokenizer\", expected TOKENIZER|TOKEN_SIZE"},
        {"t|8\n2\n", "token size of \"8\" bytes, expected 2 or 4"},
        {"t|\n2\n", "token size of \"\" bytes"},
        {"t|2", "line 2 is \"\", expected the number of tokens"},
        {"t|2\nmany\n", "line 2 is \"many\""},
        {"t|2\n-2\n", "line 2 is \"-2\""},
        {"t|2\n99999999999999999999\n", "line 2 is \"99999999999999999999\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scratch_text("meta.ds.metadata", cases[i].text);
        expect_refused(scratch_text("meta.ds", "abcd"), cases[i].expect);
    }
}

static void test_bad_index(void **state)
{
    (void)state;
    static const struct {
        uint64_t end[3];
        int count;
        const char *expect;
    } cases[] = {
        {{4, 4, 10}, 3, "document 1 is empty: it begins and ends at token 4; `remla data import` of the .ds"},
        {{4, 3, 10}, 3, "document 1 ends at token 3, expected more than 4"},
        {{0, 10}, 2, "document 0 is empty: it begins and ends at token 0"},
        {{4, 9}, 2, "the last document ends at token 9"},
        {{4, 11}, 2, "the last document ends at token 11"},
        {{4, UINT64_MAX}, 2, "document 1 ends at token 18446744073709551615"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(scratch_shard("index.ds", 2, tokens, COUNT, cases[i].end, cases[i].count),
                       cases[i].expect);
    scratch_text("index.ds.index", "1234567");
    expect_refused(scratch_path("index.ds"), "7 bytes, expected 8 for each of 1 to 10 documents");
    scratch_text("index.ds.index", "");
    expect_refused(scratch_path("index.ds"), "0 bytes");
    static const uint64_t many[COUNT + 1];
    scratch_write("index.ds.index", many, sizeof many);
    expect_refused(scratch_path("index.ds"), "88 bytes");
}

/* A shard that shrinks after it was opened is a sentence, too. */
static void test_cut_later(void **state)
{
    (void)state;
    shard s;
    int32_t out[COUNT];
    message why = {""};
    open_good(&s, scratch_shard("cut.ds", 2, tokens, COUNT, NULL, 0));
    scratch_text("cut.ds", "abcd");
    assert_int_equal(shard_read(&s, 0, COUNT, 301, out, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "cut.ds"));
    shard_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_widths),      cmocka_unit_test(test_without_index),
        cmocka_unit_test(test_without_metadata), cmocka_unit_test(test_large_ids),
        cmocka_unit_test(test_fixture),          cmocka_unit_test(test_bad_ids),
        cmocka_unit_test(test_bad_sizes),        cmocka_unit_test(test_bad_metadata),
        cmocka_unit_test(test_bad_index),        cmocka_unit_test(test_cut_later),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return skipped && !failed ? SKIPPED_CODE : failed;
}
