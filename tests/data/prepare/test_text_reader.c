/* Documents from text files, against lines split and objects made here: ends of lines, byte order marks,
 * empty lines, compressed files, batches of every size, files read in parts that begin at every byte. Input
 * that is not text, or not JSON with that column, is one sentence with file and line; endless input is
 * refused with bounded memory. */
#include "base/memory.h"
#include "data/prepare/text_reader.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <cmocka.h>

enum { MOST = 64 };

/* What a reader gave. */
typedef struct found {
    char *text[MOST];
    int64_t bytes[MOST];
    char place[MOST][RECORD_PLACE_BYTES];
    int count;
} found;

static void found_free(found *f)
{
    for (int i = 0; i < f->count; i++) free(f->text[i]);
    f->count = 0;
}

static status take(found *f, const text_batch *b, const char *column, message *why)
{
    for (int64_t i = 0; i < b->records; i++) {
        document d;
        TRY(text_record_document(b, &b->record[i], column, &d, why));
        assert_true(f->count < MOST);
        f->text[f->count] = calloc(1, (size_t)d.bytes + 1);
        memcpy(f->text[f->count], d.text, (size_t)d.bytes);
        text_record_place(&b->record[i], f->place[f->count]);
        f->bytes[f->count++] = d.bytes;
        document_free(&d);
    }
    return OK;
}

/* Adds the documents of [from, to) of the file, read in batches of about `size` bytes. */
static status read_part(found *f, const char *path, int64_t from, int64_t to, int64_t size, message *why)
{
    text_reader r;
    text_batch b = {0};
    bool ended = false;
    status s = text_reader_open(&r, path, from, to, why);
    while (s == OK && !ended) {
        text_batch_clear(&b);
        s = text_reader_fill(&r, &b, size, &ended, why);
        if (s == OK) s = take(f, &b, "text", why);
    }
    if (s == OK && to == INT64_MAX) assert_int_equal(text_reader_consumed(&r), file_bytes(path) - r.from);
    text_reader_close(&r);
    text_batch_free(&b);
    return s;
}

static void expect_documents(const char *path, const char *const *want, int count)
{
    static const int64_t sizes[] = {1, 30, 1 << 20};
    for (int i = 0; i < 3; i++) {
        found f = {.count = 0};
        message why = {""};
        if (read_part(&f, path, 0, INT64_MAX, sizes[i], &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(f.count, count);
        for (int k = 0; k < count; k++) assert_string_equal(f.text[k], want[k]);
        found_free(&f);
    }
}

static void expect_error(const char *path, const char *sentence)
{
    found f = {.count = 0};
    message why = {""};
    const status s = read_part(&f, path, 0, INT64_MAX, 1 << 20, &why);
    if (s != ERR_INPUT || strncmp(why.text, path, strlen(path)) != 0 || !strstr(why.text, sentence))
        fail_msg("status %d, expected \"%s\" in: %s", (int)s, sentence, why.text);
    found_free(&f);
}

static void gzip_file(const char *path, const char *text, int64_t bytes)
{
    gzFile file = gzopen(path, "wb1");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, text, (unsigned)bytes), bytes);
    assert_int_equal(gzclose(file), Z_OK);
}

/* ---- documents ---------------------------------------------------------------------------------------- */

static void test_plain(void **state)
{
    (void)state;
    static const char text[] = "  one\r\n\r\ntwo \xe2\x82\xac\n\n";
    static const char *const want[] = {text};
    expect_documents(scratch_text("a.txt", text), want, 1); /* nothing is taken away or changed */
    expect_documents(scratch_text("README", text), want, 1);
    expect_documents(scratch_text("a.jsonl.md", text), want, 1);
    gzip_file(scratch_path("a.txt.gz"), text, (int64_t)strlen(text));
    expect_documents(scratch_path("a.txt.gz"), want, 1);
    static const char *const nothing[] = {""};
    expect_documents(scratch_text("empty.txt", ""), nothing, 1);
    static const char *const marked[] = {"x"};
    expect_documents(scratch_text("mark.txt", "\xef\xbb\xbfx"), marked, 1);
    expect_documents(scratch_text("mark.txt", "\xef\xbb\xbf"), nothing, 1);
    static const char *const half[] = {"ab"};
    expect_documents(scratch_text("short.txt", "ab"), half, 1);
}

static void test_lines(void **state)
{
    (void)state;
    static const char *const want[] = {"one", "two\n", "", "\xe2\x82\xac \xf0\x9f\x98\x80", "last"};
    static const char unix_lines[] =
        "{\"text\":\"one\"}\n"
        "{\"id\": 12345678901234567890123, \"text\": \"two\\n\", \"m\": {\"a\": [1.5e3]}}\n"
        "{\"text\": \"\"}\n"
        "{\"text\": \"\\u20ac \\ud83d\\ude00\"}\n"
        "{\"text\": \"first\", \"text\": \"last\"}";
    char text[1024] = "\xef\xbb\xbf \n\r\n\t\n";
    expect_documents(scratch_text("a.jsonl", unix_lines), want, 5); /* the last line has no end */
    expect_documents(scratch_text("a.NDJSON", unix_lines), want, 5);
    expect_documents(scratch_text("a.json", unix_lines), want, 5);
    gzip_file(scratch_path("a.jsonl.gz"), unix_lines, (int64_t)strlen(unix_lines));
    expect_documents(scratch_path("a.jsonl.gz"), want, 5);
    /* A byte order mark, empty lines, and the other kind of line's end. */
    for (const char *c = unix_lines; *c; c++)
        snprintf(text + strlen(text), 8, *c == '\n' ? " \r\n\r\n" : "%c", *c);
    strcat(text, "\r\n\n  ");
    expect_documents(scratch_text("b.jsonl", text), want, 5);
    expect_documents(scratch_text("none.jsonl", " \n\n"), NULL, 0);
    expect_documents(scratch_text("none.jsonl", ""), NULL, 0);
}

static void test_zero_bytes(void **state)
{
    (void)state;
    found f = {.count = 0};
    message why;
    scratch_text("z.jsonl", "{\"text\": \"a\\u0000b\"}");
    assert_int_equal(read_part(&f, scratch_path("z.jsonl"), 0, INT64_MAX, 100, &why), OK);
    assert_int_equal(f.bytes[0], 3);
    assert_memory_equal(f.text[0], "a\0b", 3);
    found_free(&f);
    scratch_write("z.txt", "a\0b", 3);
    assert_int_equal(read_part(&f, scratch_path("z.txt"), 0, INT64_MAX, 100, &why), OK);
    assert_int_equal(f.bytes[0], 3);
    found_free(&f);
}

/* A file read in two parts, cut at every byte: every document once, in order, with its line's number. */
static void test_parts(void **state)
{
    (void)state;
    static const char text[] =
        "{\"text\":\"a\"}\n\n{\"text\":\"bb\"}\r\n{\"text\":\"ccc\"}\n{\"text\":\"d\"}";
    static const char *const want[] = {"a", "bb", "ccc", "d"};
    static const int line[] = {1, 3, 4, 5};
    const char *path = scratch_text("parts.jsonl", text);
    for (int64_t cut = 1; cut < (int64_t)strlen(text); cut++) {
        for (int64_t second = cut; second <= cut + 30; second += 15) {
            found f = {.count = 0};
            message why = {""};
            assert_int_equal(read_part(&f, path, 0, cut, 1, &why), OK);
            if (second > cut) assert_int_equal(read_part(&f, path, cut, second, 100, &why), OK);
            if (read_part(&f, path, second, (int64_t)strlen(text), 100, &why) != OK) fail_msg("%s", why.text);
            assert_int_equal(f.count, 4);
            for (int i = 0; i < 4; i++) {
                char place[RECORD_PLACE_BYTES];
                snprintf(place, sizeof place, "%s:%d", path, line[i]);
                assert_string_equal(f.text[i], want[i]);
                assert_string_equal(f.place[i], place);
            }
            found_free(&f);
        }
    }
}

/* A batch is used again and again; what one very long document needed is given back. */
static void test_batches(void **state)
{
    (void)state;
    static char text[5 << 20];
    memset(text, 'a', sizeof text);
    const char *path = scratch_write("long.txt", text, sizeof text);
    text_reader r;
    text_batch b = {0};
    bool ended;
    message why;
    assert_int_equal(text_reader_open(&r, path, 0, INT64_MAX, &why), OK);
    assert_int_equal(text_reader_fill(&r, &b, 100, &ended, &why), OK);
    assert_int_equal(b.bytes, sizeof text);
    text_reader_close(&r);
    text_batch_clear(&b);
    assert_true(b.bytes == 0 && b.records == 0 && b.capacity == 0);
    text_batch_free(&b);
}

/* ---- errors ------------------------------------------------------------------------------------------- */

static void test_bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *sentence;
    } cases[] = {
        {"{\"text\": \"a\"", ":2: not JSON at byte 12 of the line: "},
        {"{\"text\": \"a\"} x", ":2: not JSON at byte 15 of the line: end of file expected near 'x'"},
        {"plain text", ":2: not JSON at byte "},
        {"{\"text\": NaN}", ":2: not JSON at byte "},
        {"{\"text\": \"\\ud800\"}", ":2: not JSON at byte "},
        {"[\"a\"]", ":2: found an array, expected a JSON object on every line"},
        {"[", ":2: not JSON at byte 1 of the line"},
        {"\"a\"", ":2: found a string, expected a JSON object on every line"},
        {"{\"content\": \"a\", \"id\": 1}",
         ":2: there is no column \"text\", only content, id; tokenize.column names it"},
        {"{}", ":2: there is no column \"text\", only an empty object"},
        {"{\"text\": null}", ":2: column \"text\" is null, expected a string"},
        {"{\"text\": 17}", ":2: column \"text\" is a number, expected a string"},
        {"{\"text\": [\"a\"]}", ":2: column \"text\" is an array, expected a string"},
        {"{\"text\": \"a\xff\"}", ":2: byte 11 of the line, 0xff, is not UTF-8"},
        {"{\"text\": \"a\xed\xa0\x80\"}", ":2: byte 11 of the line, 0xed, is not UTF-8"},
        {"{\"text\": \"a\xc3", ":2: byte 11 of the line, 0xc3, is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"text\": \"good\"}\n%s\n{\"text\": \"good\"}\n", cases[i].line);
        expect_error(scratch_text("bad.jsonl", text), cases[i].sentence);
    }
    /* A part in the middle counts the lines before it. */
    const char *path =
        scratch_text("bad.jsonl", "{\"text\": \"good\"}\n\n{\"text\": \"good\"}\n{\"text\": 3}\n");
    found f = {.count = 0};
    message why = {""};
    assert_int_equal(read_part(&f, path, 10, 1000, 100, &why), ERR_INPUT);
    if (!strstr(why.text, "bad.jsonl:4: column")) fail_msg("%s", why.text);
    found_free(&f);
}

static void test_bad_text(void **state)
{
    (void)state;
    expect_error(scratch_text("a.txt", "abc\xe2\x82"), "a.txt: byte 3, 0xe2, is not UTF-8");
    expect_error(scratch_text("a.txt", "\xef\xbb\xbf"
                                       "abc\x80"),
                 "a.txt: byte 6, 0x80, is not UTF-8");
    expect_error(scratch_text("a.txt", "\xff\xfeh"), "a.txt: byte 0, 0xff, is not UTF-8");
    expect_error("/nonexistent/a.jsonl", "cannot be opened");
    gzip_file(scratch_path("cut.jsonl.gz"), "{\"text\": \"a\"}\n", 14);
    char packed[64];
    FILE *file = fopen(scratch_path("cut.jsonl.gz"), "rb");
    const size_t bytes = fread(packed, 1, sizeof packed, file);
    fclose(file);
    expect_error(scratch_write("cut.jsonl.gz", packed, (int64_t)bytes - 1), "is cut");
}

/* ---- limits ------------------------------------------------------------------------------------------- */

/* A zstd frame of `blocks` blocks of 128 KiB, each one byte repeated: four bytes for every 131,072. */
static const char *bomb(const char *name, char byte, int blocks)
{
    char *data = malloc((size_t)blocks * 4 + 6);
    memcpy(data, "\x28\xb5\x2f\xfd\x00\x38", 6); /* no size, a window of 128 KiB */
    for (int i = 0; i < blocks; i++) {
        const uint32_t block = (i == blocks - 1) | 1 << 1 | (1 << 17) << 3;
        memcpy(data + 6 + 4 * i, &block, 3);
        data[6 + 4 * i + 3] = byte;
    }
    const char *path = scratch_write(name, data, (int64_t)blocks * 4 + 6);
    free(data);
    return path;
}

static void test_long_lines(void **state)
{
    (void)state;
    const int64_t before = memory_peak_bytes();
    /* 1 GiB out of 32 KiB. */
    expect_error(bomb("bomb.jsonl.zst", 'a', 8192), ":1: the line is longer than 67108864 bytes");
    expect_error(bomb("bomb.jsonl.zst", '[', 8192), ":1: the line is longer than 67108864 bytes");
    expect_documents(bomb("bomb.jsonl.zst", '\n', 80), NULL, 0); /* 10 MiB of nothing */
    const int64_t more = memory_peak_bytes() - before;
    if (more > 600 << 20) fail_msg("%lld MiB of memory were taken", (long long)more >> 20);
    expect_error(bomb("bomb.txt.zst", 'a', 8192),
                 "a file like this is one document, and that may have at most 268435456 bytes");
}

/* A line of numbers, each two bytes long, with so many commas. */
static const char *numbers(const char *name, int commas)
{
    static const char begin[] = "{\"text\": \"a,b\", \"v\": [", end[] = "1]}\n";
    const size_t bytes = sizeof begin - 1 + 2 * ((size_t)commas - 1) + sizeof end - 1;
    char *line = malloc(bytes + 1), *at = line + sizeof begin - 1;
    strcpy(line, begin);
    for (int i = 1; i < commas; i++, at += 2) memcpy(at, "1,", 2);
    strcpy(at, end);
    const char *path = scratch_write(name, line, (int64_t)bytes);
    free(line);
    return path;
}

static void test_many_values(void **state)
{
    (void)state;
    static const char *const want[] = {"a,b"};
    expect_documents(numbers("numbers.jsonl", TEXT_LINE_COMMAS), want, 1);
    expect_error(numbers("numbers.jsonl", TEXT_LINE_COMMAS + 1),
                 "numbers.jsonl:1: the JSON of the line has too many values: more than 1048576 commas");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),      cmocka_unit_test(test_lines),
        cmocka_unit_test(test_zero_bytes), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_bad_lines),  cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_many_values),
        cmocka_unit_test(test_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
