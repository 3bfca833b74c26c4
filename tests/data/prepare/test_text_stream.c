/* Decompression: what zlib and zstd packed comes back byte for byte in reads of any size; a file that is cut
 * anywhere, or damaged, is an error and never text; a window larger than ours is refused by its header. */
#include "data/prepare/text_stream.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <cmocka.h>

enum { MANY = 300000 };
static char text[MANY], packed[2 * MANY], got[2 * MANY];

static int64_t gzip(char *out, const char *in, int64_t bytes)
{
    z_stream z = {.next_in = (Bytef *)in, .avail_in = (uInt)bytes, .next_out = (Bytef *)out};
    z.avail_out = 2 * MANY;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    const int64_t length = (int64_t)z.total_out;
    deflateEnd(&z);
    return length;
}

static int64_t zstd(char *out, const char *in, int64_t bytes)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    const size_t length = ZSTD_compress2(c, out, 2 * MANY, in, (size_t)bytes);
    assert_false(ZSTD_isError(length));
    ZSTD_freeCCtx(c);
    return (int64_t)length;
}

/* Reads all of it, `step` bytes at a time. */
static status read_all(const char *path, int64_t step, int64_t *bytes, message *why)
{
    text_stream s;
    int64_t n = 1;
    status result = text_stream_open(&s, path, 0, why);
    for (*bytes = 0; result == OK && n > 0; *bytes += n) {
        assert_true(*bytes + step <= (int64_t)sizeof got);
        result = text_stream_read(&s, got + *bytes, step, &n, why);
        if (result != OK) break;
        assert_true(n >= 0 && n <= step);
    }
    if (result == OK) {
        assert_int_equal(text_stream_read(&s, got, step, &n, why), OK); /* the end stays the end */
        assert_int_equal(n, 0);
        assert_int_equal(s.at, s.bytes);
    }
    text_stream_close(&s);
    return result;
}

static void expect(const char *path, const char *want, int64_t bytes)
{
    static const int64_t steps[] = {1, 7, 4096, 200000};
    for (int i = 0; i < 4; i++) {
        int64_t n;
        message why = {""};
        if (steps[i] == 1 && bytes > 10000) continue;
        if (read_all(path, steps[i], &n, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(n, bytes);
        assert_memory_equal(got, want, (size_t)bytes);
    }
}

static void expect_error(const char *path, const char *part)
{
    int64_t n;
    message why = {""};
    const status s = read_all(path, 4096, &n, &why);
    if (s != ERR_INPUT || !strstr(why.text, part) || !strstr(why.text, path))
        fail_msg("status %d, expected \"%s\" in: %s", (int)s, part, why.text);
}

static void make_text(void)
{
    uint32_t x = 1;
    for (int i = 0; i < MANY; i++) {
        x = x * 1664525u + 1013904223u;
        text[i] = (char)(i % 1000 < 500 ? 'a' + (x >> 24) % 20 : 'z');
    }
}

static void test_plain(void **state)
{
    (void)state;
    expect(scratch_write("a.txt", text, MANY), text, MANY);
    expect(scratch_write("empty", "", 0), "", 0);
    /* From the middle, from the end, and from behind it. */
    static const int64_t from[] = {MANY - 5, MANY, MANY + 5};
    for (int i = 0; i < 3; i++) {
        text_stream s;
        message why;
        int64_t n;
        assert_int_equal(text_stream_open(&s, scratch_path("a.txt"), from[i], &why), OK);
        assert_int_equal(text_stream_read(&s, got, 100, &n, &why), OK);
        assert_int_equal(n, i == 0 ? 5 : 0);
        assert_memory_equal(got, text + MANY - 5, (size_t)n);
        text_stream_close(&s);
    }
    expect_error("/nonexistent/a.txt", "cannot be opened");
    expect_error("/tmp", "not a regular file");
}

static void test_packed(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 5000, MANY};
    for (int i = 0; i < 4; i++) {
        int64_t n = gzip(packed, text, sizes[i]);
        expect(scratch_write("a.txt.gz", packed, n), text, sizes[i]);
        n = zstd(packed, text, sizes[i]);
        expect(scratch_write("a.txt.ZST", packed, n), text, sizes[i]);
    }
}

/* cat a.gz b.gz: what gzip and zstd themselves make of that. Skippable frames are no text. */
static void test_several(void **state)
{
    (void)state;
    int64_t n = gzip(packed, text, 1000);
    n += gzip(packed + n, "", 0);
    n += gzip(packed + n, text + 1000, 200000);
    expect(scratch_write("b.gz", packed, n), text, 201000);
    n = zstd(packed, text, 1000);
    memcpy(packed + n, "\x53\x2a\x4d\x18\x03\0\0\0abc", 11);
    n += 11;
    n += zstd(packed + n, text + 1000, 200000);
    n += zstd(packed + n, "", 0);
    expect(scratch_write("b.zst", packed, n), text, 201000);
}

static void test_cut(void **state)
{
    (void)state;
    const int64_t gz = gzip(packed, text, 3000);
    expect_error(scratch_write("c.gz", packed, 0), "is empty");
    for (int64_t n = 1; n < gz; n++) expect_error(scratch_write("c.gz", packed, n), "is cut");
    const int64_t zst = zstd(packed, text, 3000);
    expect_error(scratch_write("c.zst", packed, 0), "is empty");
    for (int64_t n = 1; n < zst; n++) expect_error(scratch_write("c.zst", packed, n), "is cut");
}

/* Every byte changed: an error, or the same text (the time in a gzip header, say). */
static void test_damaged(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        const int64_t length = (kind ? zstd : gzip)(packed, text, 2000);
        int64_t refused = 0, n;
        for (int64_t i = 0; i < length; i++) {
            message why = {""};
            packed[i] ^= 0x15;
            const char *path = scratch_write(kind ? "d.zst" : "d.gz", packed, length);
            packed[i] ^= 0x15;
            if (read_all(path, 4096, &n, &why) != OK) {
                refused++;
                continue;
            }
            assert_int_equal(n, 2000);
            assert_memory_equal(got, text, 2000);
        }
        assert_true(refused > length - 20);
    }
    expect_error(scratch_text("e.gz", "plain text, whatever its name says"), "not gzip after byte 0");
    expect_error(scratch_text("e.zst", "plain text, whatever its name says"), "not zstd after byte 0");
    const int64_t n = gzip(packed, text, 100);
    strcpy(packed + n, "something else");
    expect_error(scratch_write("f.gz", packed, n + 14), "not gzip after byte");
}

/* A frame header that asks for 2^log bytes, with one empty block. */
static const char *window_file(int log)
{
    char frame[] = "\x28\xb5\x2f\xfd\x00\x00\x01\x00\x00";
    frame[5] = (char)((log - 10) << 3);
    return scratch_write("window.zst", frame, 9);
}

static void test_window(void **state)
{
    (void)state;
    expect(window_file(27), "", 0);
    expect_error(window_file(28), "needs a window of more than 128 MiB");
    expect_error(window_file(31), "needs a window of more than 128 MiB");
}

static void test_names(void **state)
{
    (void)state;
    assert_true(text_stream_is_packed("a.gz") && text_stream_is_packed("x/b.jsonl.zst") &&
                text_stream_is_packed("A.GZ"));
    assert_false(text_stream_is_packed("gz") || text_stream_is_packed(".gz") ||
                 text_stream_is_packed("a.gz.txt"));
    assert_int_equal(text_stream_name_length("a.jsonl.zst"), 7);
    assert_int_equal(text_stream_name_length("a.jsonl"), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_packed),  cmocka_unit_test(test_several),
        cmocka_unit_test(test_cut),   cmocka_unit_test(test_damaged), cmocka_unit_test(test_window),
        cmocka_unit_test(test_names),
    };
    make_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
