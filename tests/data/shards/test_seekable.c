/* Shards in frames: any range of ids comes back as it was written, on any number of threads; a flipped bit or
 * a cut is refused or changes nothing; files that promise absurd sizes are refused in bounded memory. */
#include "data/shards/seekable.h"
#include "data/shards/shard.h"
#include "data/shards/shard_writer.h"
#include "tests/support/draw.h"
#include "tests/support/scratch.h"
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>
#include <cmocka.h>

enum { MANY = 400000, VOCABULARY = 50000 };
static uint32_t id[MANY];

static int setup(void **state)
{
    (void)state;
    uint64_t x = 1;
    for (int64_t i = 0; i < MANY; i++) id[i] = draw_below(&x, VOCABULARY) >> (i % 13);
    return 0;
}

static void good(status s, const message *why)
{
    if (s != OK) fail_msg("%s", why->text);
}

static const char *write_shard(const char *name, int width, int64_t tokens)
{
    message why = {""};
    shard_writer *w;
    shard_summary s;
    const shard_identity i = {.token_bytes = width, .vocabulary = VOCABULARY, .eos = 1, .bos = -1, .pad = -1};
    const char *path = scratch_path(name);
    good(shard_writer_create(&w, path, &i, &why), &why);
    good(shard_writer_append(w, id, tokens, &why), &why);
    good(shard_writer_finish(w, &s, &why), &why);
    return path;
}

static shard open_good(const char *path)
{
    shard s;
    message why = {""};
    good(shard_open(&s, path, &why), &why);
    return s;
}

static void expect_range(const shard *s, int64_t from, int64_t count)
{
    message why = {""};
    int32_t *out = malloc(sizeof *out * (size_t)(count + 1));
    out[count] = 0x55555555;
    good(shard_read(s, from, count, VOCABULARY, out, &why), &why);
    assert_memory_equal(out, id + from, sizeof *out * (size_t)count);
    assert_int_equal(out[count], 0x55555555);
    free(out);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    (void)state;
    for (int width = 2; width <= 4; width += 2) {
        const char *path = write_shard("ranges.ds.zst", width, MANY);
        remove(scratch_path("ranges.ds.metadata")); /* the header knows */
        shard s = open_good(path);
        assert_int_equal(s.token_bytes, width);
        assert_int_equal(s.tokens, MANY);
        assert_int_equal(s.identity.vocabulary, VOCABULARY);
        const int64_t frame = (1 << 18) / width;
        for (int64_t border = frame; border < MANY; border += frame)
            for (int64_t from = border - 2; from <= border; from++)
                for (int64_t count = 0; count < 4; count++) expect_range(&s, from, count);
        for (uint64_t k = 0; k < 300; k++) {
            const int64_t from = (int64_t)(k * 2654435761u % MANY), left = MANY - from;
            expect_range(&s, from, left < 5000 ? left : 5000);
        }
        expect_range(&s, 0, MANY);
        shard_close(&s);
    }
}

/* Files that change places must not be taken for each other. */
static void test_cache_knows_files(void **state)
{
    (void)state;
    const char *a = write_shard("a.ds.zst", 4, 1000), *b = write_shard("b.ds.zst", 2, 900);
    shard first = open_good(a), second = open_good(b);
    for (int turn = 0; turn < 3; turn++) {
        expect_range(&first, 10, 900);
        expect_range(&second, 20, 800);
    }
    shard_close(&first);
    shard_close(&second);
    id[500] ^= 1;
    write_shard("a.ds.zst", 4, 1000);
    first = open_good(a);
    expect_range(&first, 0, 1000);
    shard_close(&first);
    id[500] ^= 1;
}

static void *read_some(void *context)
{
    const shard *s = context;
    for (uint64_t k = 0; k < 200; k++) {
        int32_t out[3000];
        message why;
        const int64_t from = (int64_t)(k * 40503 % (MANY - 3000));
        if (shard_read(s, from, 3000, VOCABULARY, out, &why) != OK || memcmp(out, id + from, sizeof out) != 0)
            return "wrong";
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    shard s = open_good(write_shard("threads.ds.zst", 4, MANY));
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, read_some, &s), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(thread[i], &result);
        assert_null(result);
    }
    shard_close(&s);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

/* OK: the file gives the ids of `want`. Anything else that it gives fails the test. */
static status read_all(const char *path, int64_t want, message *why)
{
    shard s;
    TRY(shard_open(&s, path, why));
    assert_int_equal(s.tokens, want);
    int32_t *out = malloc(sizeof *out * (size_t)want);
    const status result = shard_read(&s, 0, want, VOCABULARY, out, why);
    if (result == OK) assert_memory_equal(out, id, sizeof *out * (size_t)want);
    free(out);
    shard_close(&s);
    return result;
}

static char *contents(const char *path, int64_t *bytes)
{
    message why;
    char *text;
    good(file_read_text(path, 1 << 30, &text, bytes, &why), &why);
    return text;
}

/* Two bits of every byte: refused, or the same ids. */
static void test_flips(void **state)
{
    (void)state;
    enum { TOKENS = 90 };
    const char *path = write_shard("flips.ds.zst", 4, TOKENS);
    remove(scratch_path("flips.ds.metadata"));
    int64_t bytes, harmless = 0;
    char *file = contents(path, &bytes);
    for (int64_t k = 0; k < bytes; k++)
        for (int bit = (int)(k % 4); bit < 8; bit += 4) {
            message why = {""};
            file[k] = (char)(file[k] ^ 1 << bit);
            scratch_write("flips.ds.zst", file, bytes);
            file[k] = (char)(file[k] ^ 1 << bit);
            const status got = read_all(path, TOKENS, &why);
            harmless += got == OK;
            if (got == OK) continue;
            assert_int_equal(got, ERR_INPUT);
            if (!strstr(why.text, "flips.ds")) fail_msg("byte %lld: %s", (long long)k, why.text);
        }
    assert_true(harmless <= 48); /* 32 of them: the checksum of the header, which has its own */
    free(file);
}

static void test_cuts(void **state)
{
    (void)state;
    const char *path = write_shard("cuts.ds.zst", 2, 200000);
    int64_t bytes;
    char *file = contents(path, &bytes);
    message why = {""};
    for (int64_t keep = 0; keep < bytes; keep += keep < 150 || keep > bytes - 150 ? 1 : 9973) {
        scratch_write("cuts.ds.zst", file, keep);
        assert_int_equal(read_all(path, 200000, &why), ERR_INPUT);
    }
    scratch_write("cuts.ds.zst", file, bytes);
    assert_int_equal(read_all(path, 200000, &why), OK);
    /* Something behind the end, and something in the middle. */
    file = realloc(file, (size_t)bytes + 1);
    file[bytes] = 0;
    scratch_write("cuts.ds.zst", file, bytes + 1);
    assert_int_equal(read_all(path, 200000, &why), ERR_INPUT);
    free(file);
}

/* A flipped bit names file and frame. */
static void test_frame_is_named(void **state)
{
    (void)state;
    const char *path = write_shard("named.ds.zst", 4, MANY);
    int64_t bytes;
    char *file = contents(path, &bytes);
    shard s = open_good(path);
    file[s.frames.at[3] + 1000] ^= 4;
    scratch_write("named.ds.zst", file, bytes);
    message why = {""};
    int32_t out[10];
    assert_int_equal(shard_read(&s, 2 * 65536 + 5, 10, VOCABULARY, out, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, path));
    assert_non_null(strstr(why.text, "frame 3 is damaged"));
    assert_int_equal(shard_read(&s, 65536 + 5, 10, VOCABULARY, out, &why), OK); /* the others are good */
    shard_close(&s);
    free(file);
}

/* ---- files that others made, or that promise too much -------------------------------------------------- */

/* One frame, made with some of zstd's settings, and a table without checksums. */
static const char *one_frame(const char *name, int checksum, int content_size, int window_log,
                             int64_t content)
{
    const size_t bound = ZSTD_compressBound((size_t)content) + 64;
    char *raw = calloc(1, (size_t)content), *file = malloc(bound);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, checksum);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, content_size);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
    /* Two calls: else a frame that is smaller than its window says its content's size instead. */
    ZSTD_inBuffer in = {raw, (size_t)content, 0};
    ZSTD_outBuffer out = {file, bound, 0};
    if (content_size) ZSTD_CCtx_setPledgedSrcSize(zstd, (size_t)content);
    ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_continue);
    assert_int_equal(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
    const uint32_t table[] = {SEEK_TABLE_MAGIC, 8 + 9, (uint32_t)out.pos, (uint32_t)content, 1};
    char *end = file + out.pos;
    memcpy(end, table, sizeof table);
    end[sizeof table] = 0;
    memcpy(end + sizeof table + 1, &(uint32_t){SEEKABLE_MAGIC}, 4);
    const char *path = scratch_write(name, file, (int64_t)(out.pos + sizeof table + 5));
    char other[64], text[64];
    snprintf(other, sizeof other, "%.*s.metadata", (int)(strlen(name) - 4), name);
    snprintf(text, sizeof text, "foreign|2\n%lld\n", (long long)content / 2);
    scratch_text(other, text);
    ZSTD_freeCCtx(zstd);
    free(raw);
    free(file);
    return path;
}

static void expect_read(const char *path, int64_t tokens, const char *text)
{
    shard s;
    message why = {""};
    int32_t *out = malloc(sizeof *out * (size_t)tokens);
    status got = shard_open(&s, path, &why);
    if (got == OK) {
        got = shard_read(&s, 0, tokens, VOCABULARY, out, &why);
        shard_close(&s);
    }
    free(out);
    if (!text) good(got, &why);
    if (text && (got != ERR_INPUT || !strstr(why.text, text)))
        fail_msg("expected \"%s\": %s", text, why.text);
}

/* Frames that end within tokens, and empty ones between. */
static void test_foreign_frames(void **state)
{
    (void)state;
    enum { TOKENS = 20000, PIECE = 999, BYTES = 4 * TOKENS, FRAMES = 2 * ((BYTES + PIECE - 1) / PIECE) };
    static uint32_t entry[FRAMES][2];
    char *file = malloc(2 * BYTES + 12 * FRAMES + 100);
    size_t at = 0;
    for (size_t from = 0, i = 0; from < BYTES; from += PIECE, i += 2) {
        const size_t bytes = BYTES - from < PIECE ? BYTES - from : PIECE;
        memcpy(file + at, (const uint32_t[]){SKIPPABLE_MAGIC + 3, 0}, 8); /* a skippable frame of 8 bytes */
        ZSTD_CCtx *zstd = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
        const size_t n = ZSTD_compress2(zstd, file + at + 8, 2 * PIECE, (const char *)id + from, bytes);
        ZSTD_freeCCtx(zstd);
        assert_false(ZSTD_isError(n));
        entry[i][0] = 8;
        entry[i + 1][0] = (uint32_t)n;
        entry[i + 1][1] = (uint32_t)bytes;
        at += 8 + n;
    }
    memcpy(file + at, (const uint32_t[]){SEEK_TABLE_MAGIC, sizeof entry + 9}, 8);
    memcpy(file + at + 8, entry, sizeof entry);
    at += 8 + sizeof entry;
    memcpy(file + at, &(uint32_t){FRAMES}, 4);
    file[at + 4] = 0;
    memcpy(file + at + 5, &(uint32_t){SEEKABLE_MAGIC}, 4);
    scratch_text("theirs.ds.metadata", "t|4\n20000\n");
    shard s = open_good(scratch_write("theirs.ds.zst", file, (int64_t)at + 9));
    expect_range(&s, 0, TOKENS);
    for (int64_t from = 0; from < TOKENS - 700; from += 77) expect_range(&s, from, 700);
    assert_int_equal(s.content, 0);
    shard_close(&s);
    free(file);
}

static void test_foreign(void **state)
{
    (void)state;
    expect_read(one_frame("good.ds.zst", 1, 1, 18, 100000), 50000, NULL);
    expect_read(one_frame("bare.ds.zst", 0, 1, 18, 100000), 50000,
                "neither it nor the seek table has a checksum");
    expect_read(one_frame("sizeless.ds.zst", 1, 0, 18, 100000), 50000, "does not say the size");
    expect_read(one_frame("wide.ds.zst", 1, 1, 24, 1 << 24), 1 << 23, NULL); /* one segment: no window */
    expect_read(one_frame("window.ds.zst", 1, 0, 24, 1 << 24), 1 << 23, "window is larger than 8 MiB");
    expect_read(one_frame("large.ds.zst", 1, 1, 18, (1 << 24) + 2), (1 << 23) + 1,
                "with a content of 16777218");
    scratch_text("plain.ds.metadata", "t|2\n2\n");
    char packed[200];
    const size_t n = ZSTD_compress(packed, sizeof packed, "abcd", 4, 3);
    expect_read(scratch_write("plain.ds.zst", packed, (int64_t)n), 2, "has no seek table at its end");
}

/* Opens and reads within 64 MiB more than what is in use. */
static void expect_bounded(const char *path, const char *text)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        long pages = 0;
        FILE *f = fopen("/proc/self/statm", "r");
        if (!f || fscanf(f, "%ld", &pages) != 1) _exit(3);
        fclose(f);
        const rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (64 << 20);
        setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
        shard s;
        message why = {""};
        const status got = shard_open(&s, path, &why);
        if (got != ERR_INPUT || !strstr(why.text, text)) {
            fprintf(stderr, "%d: %s\n", got, why.text);
            _exit(1);
        }
        _exit(0);
    }
    int code;
    waitpid(child, &code, 0);
    assert_int_equal(code, 0);
}

static void test_bombs(void **state)
{
    (void)state;
    /* 25 bytes whose number of frames times 8 wraps in 32 bits to 8: zstd's own reader took 12 GB. */
    const uint32_t frames = 0x20000001, magic = SEEKABLE_MAGIC;
    uint8_t small[25] = {0};
    const uint32_t start[] = {SEEK_TABLE_MAGIC, 17, 9, 4};
    memcpy(small, start, 16);
    memcpy(small + 16, &frames, 4);
    memcpy(small + 21, &magic, 4);
    scratch_text("bomb.ds.metadata", "t|2\n2\n");
    expect_bounded(scratch_write("bomb.ds.zst", small, 25), "lists 536870913 frames");

    /* 32,774 bytes that decode to 1 GiB: blocks of type RLE. */
    enum { BLOCKS = 8192 };
    uint8_t *file = malloc(14 + 4 * BLOCKS + 25), *at = file;
    const uint64_t content = 1 << 30;
    memcpy(at, "\x28\xb5\x2f\xfd\xc0\x38", 6); /* content size of 8 bytes, window 128 KiB */
    memcpy(at + 6, &content, 8);
    at += 14;
    for (int i = 0; i < BLOCKS; i++, at += 4) {
        const uint32_t block = (uint32_t)(i == BLOCKS - 1) | 1 << 1 | 1 << 17 << 3;
        memcpy(at, &block, 3);
        at[3] = 'x';
    }
    const uint32_t table[] = {SEEK_TABLE_MAGIC, 17, (uint32_t)(at - file), (uint32_t)content, 1};
    memcpy(at, table, 20);
    at[20] = 0;
    memcpy(at + 21, &magic, 4);
    assert_true(ZSTD_getFrameContentSize(file, (size_t)(at - file)) == content);
    scratch_text("rle.ds.metadata", "t|2\n536870912\n");
    expect_bounded(scratch_write("rle.ds.zst", file, at + 25 - file), "with a content of 1073741824");
    /* The same with a table that lies about it. */
    memcpy(at + 12, &(uint32_t){1 << 24}, 4);
    scratch_text("lie.ds.metadata", "t|2\n8388608\n");
    shard s = open_good(scratch_write("lie.ds.zst", file, at + 25 - file));
    message why = {""};
    int32_t out;
    assert_int_equal(shard_read(&s, 0, 1, VOCABULARY, &out, &why), ERR_INPUT);
    if (!strstr(why.text, "the size of its content is not what the seek table says"))
        fail_msg("%s", why.text);
    shard_close(&s);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),         cmocka_unit_test(test_cache_knows_files),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_cuts),           cmocka_unit_test(test_frame_is_named),
        cmocka_unit_test(test_foreign_frames), cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_bombs),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
