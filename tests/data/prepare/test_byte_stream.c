/* Streams of bytes: what is read, by any steps, is what the file holds or decompresses to; and the ends. */
#include "data/prepare/byte_stream.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <zstd.h>

enum { BYTES = 700001 }; /* some buffers and a piece of one */

static unsigned char content[BYTES], packed[2 * BYTES];

static void make_content(void)
{
    uint32_t x = 1;
    for (int i = 0; i < BYTES; i++) {
        x = x * 1664525 + 1013904223;
        content[i] = (unsigned char)((x >> 24) & 0x3f);
    }
}

/* Reads and skips in steps that differ, and compares. */
static void walk(byte_stream *b)
{
    static unsigned char out[300000];
    static const int64_t steps[] = {1, 8, 0, 4096, 262144, 3, 299999, 77};
    message why = {""};
    for (int i = 0; b->at < BYTES; i++) {
        const int64_t at = b->at, left = BYTES - at, n = steps[i % 8] < left ? steps[i % 8] : left;
        if (i % 3 == 2) {
            assert_int_equal(byte_stream_skip(b, n, &why), OK);
        } else {
            if (byte_stream_read(b, out, n, &why) != OK) fail_msg("%s", why.text);
            assert_memory_equal(out, content + at, (size_t)n);
        }
        assert_int_equal(b->at, at + n);
        assert_int_equal(byte_stream_end(b, &why), b->at == BYTES ? OK : ERR_INPUT);
    }
    assert_int_equal(byte_stream_read(b, out, 0, &why), OK);
    assert_int_equal(byte_stream_read(b, out, 1, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "ends at byte 700001, 1 more were expected"));
}

static void test_plain(void **state)
{
    (void)state;
    byte_stream b;
    message why = {""};
    assert_int_equal(byte_stream_open(&b, scratch_write("plain", content, BYTES), &why), OK);
    walk(&b);
    byte_stream_close(&b);
    assert_int_equal(byte_stream_open(&b, scratch_path("plain"), &why), OK);
    assert_int_equal(byte_stream_skip(&b, BYTES + 1, &why), ERR_INPUT);
    byte_stream_close(&b);
}

/* Three frames, an empty one and a skippable one among them. */
static void test_zstd(void **state)
{
    (void)state;
    static const unsigned char skippable[] = {0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'};
    byte_stream b;
    message why = {""};
    size_t at = ZSTD_compress(packed, sizeof packed, content, 300000, 3);
    at += ZSTD_compress(packed + at, sizeof packed - at, content, 0, 3);
    memcpy(packed + at, skippable, sizeof skippable);
    at += sizeof skippable;
    at += ZSTD_compress(packed + at, sizeof packed - at, content + 300000, BYTES - 300000, 1);
    assert_int_equal(byte_stream_open_zstd(&b, scratch_write("packed", packed, (int64_t)at), &why), OK);
    walk(&b);
    byte_stream_close(&b);
    assert_int_equal(byte_stream_open_zstd(&b, scratch_write("packed", packed, (int64_t)at - 1), &why), OK);
    assert_int_equal(byte_stream_skip(&b, BYTES, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "packed: the file is cut: its"));
    byte_stream_close(&b);
}

/* Offsets beyond 4 GiB, in a file that takes no space. */
static void test_large(void **state)
{
    (void)state;
    byte_stream b;
    message why = {""};
    uint64_t word = 0;
    const int64_t size = ((int64_t)5 << 30) + 3;
    const char *path = scratch_text("large", "begin");
    assert_int_equal(truncate(path, size), 0);
    assert_int_equal(byte_stream_open(&b, path, &why), OK);
    assert_int_equal(b.file_bytes, size);
    assert_int_equal(byte_stream_read(&b, &word, 5, &why), OK);
    assert_memory_equal(&word, "begin", 5);
    assert_int_equal(byte_stream_skip(&b, size - 5 - 8, &why), OK);
    assert_int_equal(byte_stream_read(&b, &word, 8, &why), OK);
    assert_true(word == 0 && b.at == size);
    assert_int_equal(byte_stream_end(&b, &why), OK);
    assert_int_equal(byte_stream_skip(&b, (int64_t)1 << 62, &why), ERR_INPUT);
    byte_stream_close(&b);
    unlink(path);
}

static void test_not_there(void **state)
{
    (void)state;
    byte_stream b;
    message why = {""};
    assert_int_equal(byte_stream_open(&b, scratch_path("none"), &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "none: cannot be opened"));
    byte_stream_close(&b);
    assert_int_equal(byte_stream_open_zstd(&b, scratch_path(""), &why), ERR_INPUT);
    byte_stream_close(&b);
}

int main(void)
{
    make_content();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_zstd),
                                       cmocka_unit_test(test_large), cmocka_unit_test(test_not_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
