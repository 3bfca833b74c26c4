/* Writing shards: what stock zstd makes of X.ds.zst is X.ds byte for byte, the side files are datatrove's,
 * the table and the header are those of docs/FORMATS.md, and whatever fails leaves nothing under a final
 * name. */
#include "data/shards/shard_writer.h"
#include "data/shards/dataset_json.h"
#include "data/shards/shard.h"
#include "data/shards/shard_header.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>
#include <cmocka.h>

enum { MANY = 300000 };
static uint32_t id[MANY];

static shard_identity identity(int width)
{
    shard_identity i = {.token_bytes = width, .vocabulary = 60000, .eos = 2, .bos = -1, .pad = 0};
    strcpy(i.tokenizer, "some|tokenizer");
    memset(i.tokenizer_sha256, 'a', 64);
    return i;
}

static void good(status s, const message *why)
{
    if (s != OK) fail_msg("%s", why->text);
}

/* Documents end after 1, 1000 and 77777 tokens and at the end; pieces of changing sizes. */
static shard_summary write_shard(const char *path, int width, int64_t tokens)
{
    static const int64_t ends[] = {1, 1000, 77777};
    message why = {""};
    const shard_identity i = identity(width);
    shard_writer *w;
    shard_summary s;
    good(shard_writer_create(&w, path, &i, &why), &why);
    int64_t at = 0;
    for (int e = 0; e < 4; e++) {
        const int64_t end = e < 3 && ends[e] < tokens ? ends[e] : tokens;
        for (int64_t piece = 1; at < end; at += piece, piece = piece * 3 % 10007) {
            if (piece > end - at) piece = end - at;
            good(shard_writer_append(w, id + at, piece, &why), &why);
        }
        good(shard_writer_end_document(w, &why), &why);
        good(shard_writer_end_document(w, &why), &why); /* an empty document is none */
    }
    good(shard_writer_finish(w, &s, &why), &why);
    return s;
}

static char *contents(const char *path, int64_t *bytes)
{
    message why;
    char *text;
    good(file_read_text(path, 1 << 30, &text, bytes, &why), &why);
    return text;
}

static const char *beside(const char *path, const char *end)
{
    static char out[512];
    const size_t stem = (size_t)(strstr(path, ".ds") - path) + 3;
    snprintf(out, sizeof out, "%.*s%s", (int)stem, path, end);
    return out;
}

static int setup(void **state)
{
    (void)state;
    for (int64_t i = 0; i < MANY; i++) id[i] = (uint32_t)((uint64_t)i * i * 2654435761u % 60000u >> (i % 7));
    return 0;
}

/* ---- the bytes ----------------------------------------------------------------------------------------- */

static void expect_tokens(const char *raw, int64_t bytes, int width, int64_t tokens)
{
    assert_int_equal(bytes, tokens * width);
    for (int64_t i = 0; i < tokens; i++)
        if (memcmp(raw + i * width, &id[i], (size_t)width) != 0) fail_msg("token %lld", (long long)i);
}

static void expect_side_files(const char *path, int width, int64_t tokens)
{
    static const uint64_t ends[] = {1, 1000, 77777};
    int64_t bytes;
    char want[200], *index = contents(beside(path, ".index"), &bytes);
    const int64_t documents = tokens <= 1 ? 1 : tokens <= 1000 ? 2 : tokens <= 77777 ? 3 : 4;
    assert_int_equal(bytes, 8 * documents);
    assert_memory_equal(index, ends, 8 * (size_t)(documents - 1));
    assert_memory_equal(index + 8 * (documents - 1), &tokens, 8);
    free(index);
    char *metadata = contents(beside(path, ".metadata"), &bytes);
    snprintf(want, sizeof want, "some|tokenizer|%d\n%lld\n", width, (long long)tokens);
    assert_memory_equal(metadata, want, strlen(want));
    free(metadata);
}

static void test_raw(void **state)
{
    (void)state;
    for (int width = 2; width <= 4; width += 2) {
        const char *path = scratch_path("raw.ds");
        const shard_summary s = write_shard(path, width, MANY);
        int64_t bytes;
        char *raw = contents(path, &bytes);
        expect_tokens(raw, bytes, width, MANY);
        expect_side_files(path, width, MANY);
        assert_string_equal(s.name, "raw.ds");
        assert_int_equal(s.bytes, bytes);
        free(raw);
        remove(path);
    }
}

static uint32_t u32(const char *at)
{
    uint32_t x;
    memcpy(&x, at, 4);
    return x;
}

/* Walks the file by its table, as any seekable reader does. */
static void expect_frames(const char *file, int64_t bytes, const char *raw, int64_t raw_bytes)
{
    assert_int_equal(u32(file + bytes - 4), 0x8F92EAB1u);
    assert_int_equal((uint8_t)file[bytes - 5], 0x80);
    const int64_t frames = u32(file + bytes - 9), table = 12 * frames;
    const char *entry = file + bytes - 9 - table;
    assert_int_equal(u32(entry - 8), 0x184D2A5Eu);
    assert_int_equal(u32(entry - 4), table + 9);
    assert_int_equal(frames, 1 + (raw_bytes + (1 << 18) - 1) / (1 << 18));
    int64_t at = 0, raw_at = 0;
    for (int64_t i = 0; i < frames; i++, entry += 12) {
        const uint32_t packed = u32(entry), content = u32(entry + 4);
        assert_int_equal(u32(entry + 8), (uint32_t)XXH64(raw + raw_at, content, 0));
        if (i == 0) {
            assert_int_equal(u32(file), 0x184D2A50u);
            assert_int_equal(packed, 104);
            assert_int_equal(content, 0);
        } else {
            assert_int_equal(content, raw_bytes - raw_at < 1 << 18 ? raw_bytes - raw_at : 1 << 18);
            assert_int_equal(ZSTD_getFrameContentSize(file + at, packed), content);
            assert_int_equal(ZSTD_findFrameCompressedSize(file + at, packed), packed);
            assert_true(file[at + 4] & 4); /* the frame has a checksum of its own */
        }
        at += packed;
        raw_at += content;
    }
    assert_int_equal(at, bytes - 9 - table - 8);
    assert_int_equal(raw_at, raw_bytes);
}

static void expect_header(const char *path, const char *file, int64_t bytes, int width, int64_t tokens)
{
    shard_identity i;
    int64_t count;
    message why = {""};
    assert_true(shard_header_present((const uint8_t *)file, bytes));
    good(shard_header_parse(path, (const uint8_t *)file, bytes, &i, &count, &why), &why);
    const shard_identity want = identity(width);
    assert_int_equal(count, tokens);
    assert_int_equal(i.token_bytes, width);
    assert_int_equal(i.vocabulary, want.vocabulary);
    assert_int_equal(i.eos, want.eos);
    assert_int_equal(i.bos, want.bos);
    assert_int_equal(i.pad, want.pad);
    assert_string_equal(i.tokenizer_sha256, want.tokenizer_sha256);
}

static void test_compressed(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 1000, 65536, 131072, 131073, MANY};
    for (int width = 2; width <= 4; width += 2)
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            const char *path = scratch_path("packed.ds.zst");
            const shard_summary s = write_shard(path, width, sizes[k]);
            int64_t bytes, raw_bytes = sizes[k] * width;
            char *file = contents(path, &bytes), *raw = malloc((size_t)raw_bytes + 1);
            assert_int_equal(s.bytes, bytes);
            /* Skippable frames and all, in one call, as zstd -d does. */
            assert_int_equal(ZSTD_decompress(raw, (size_t)raw_bytes, file, (size_t)bytes), raw_bytes);
            expect_tokens(raw, raw_bytes, width, sizes[k]);
            expect_frames(file, bytes, raw, raw_bytes);
            expect_header(path, file, bytes, width, sizes[k]);
            expect_side_files(path, width, sizes[k]);
            free(file);
            free(raw);
        }
}

static void test_count_for_people(void **state)
{
    (void)state;
    static const struct {
        int64_t tokens;
        const char *text;
    } cases[] = {{1, "\n1.00 T"}, {77, "\n77.0 T"}, {1000, "\n1.00 kT"}, {123456, "\n123 kT"}};
    for (int i = 0; i < 4; i++) {
        int64_t bytes;
        write_shard(scratch_path("people.ds"), 2, cases[i].tokens);
        char *metadata = contents(scratch_path("people.ds.metadata"), &bytes);
        assert_string_equal(strrchr(metadata, '\n'), cases[i].text);
        free(metadata);
    }
}

/* ---- what cannot be written ---------------------------------------------------------------------------- */

static void expect_nothing(const char *path)
{
    static const char *const ends[] = {"",      ".zst",      ".index",     ".metadata",
                                       ".part", ".zst.part", ".index.part"};
    for (int i = 0; i < 7; i++)
        if (file_exists(beside(path, ends[i]))) fail_msg("%s is there", beside(path, ends[i]));
}

static void test_refusals(void **state)
{
    (void)state;
    message why = {""};
    shard_writer *w;
    shard_summary s;
    shard_identity i = identity(2);
    assert_int_equal(shard_writer_create(&w, scratch_path("shard.bin"), &i, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, ".ds.zst or .ds"));
    assert_int_equal(shard_writer_create(&w, scratch_path("none/x.ds.zst"), &i, &why), ERR_INPUT);
    assert_null(w);

    const char *path = scratch_path("refused.ds.zst");
    good(shard_writer_create(&w, path, &i, &why), &why);
    assert_int_equal(shard_writer_finish(w, &s, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "no tokens"));
    shard_writer_abandon(w);
    expect_nothing(path);

    good(shard_writer_create(&w, path, &i, &why), &why);
    good(shard_writer_append(w, id, 5, &why), &why);
    assert_int_equal(shard_writer_append(w, &(uint32_t){60000}, 1, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "token 5 has id 60000, but the vocabulary has only 60000"));
    shard_writer_abandon(w);
    expect_nothing(path);

    i.vocabulary = -1;
    good(shard_writer_create(&w, path, &i, &why), &why);
    assert_int_equal(shard_writer_append(w, &(uint32_t){65536}, 1, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "token 0 has id 65536, but 2 bytes hold only 65536"));
    shard_writer_abandon(w);
    shard_writer_abandon(NULL);
    expect_nothing(path);
}

/* A limit on file sizes fails like a full disk. The shard that was there before is untouched until the new
 * one is whole. */
static void test_no_space(void **state)
{
    (void)state;
    message why = {""};
    const char *path = scratch_path("space.ds.zst");
    const shard_identity i = identity(4);
    const struct rlimit small = {1 << 18, RLIM_INFINITY}, unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    shard_writer *w;
    for (int before = 0; before < 2; before++) {
        const int64_t bytes = before ? write_shard(path, 4, 1000).bytes : -1;
        good(shard_writer_create(&w, path, &i, &why), &why);
        setrlimit(RLIMIT_FSIZE, &small);
        status s = OK;
        for (int k = 0; k < 10 && s == OK; k++) s = shard_writer_append(w, id, MANY, &why);
        setrlimit(RLIMIT_FSIZE, &unlimited);
        assert_int_equal(s, ERR_INPUT);
        assert_non_null(strstr(why.text, "space.ds.zst: cannot write"));
        shard_writer_abandon(w);
        assert_int_equal(file_bytes(path), bytes);
        if (!before) expect_nothing(path);
    }
}

/* Writes shards of changing sizes under one name, and a byte into `done` after each. */
static void write_for_ever(const char *path, int done)
{
    for (int64_t tokens = 1;; tokens = (tokens * 7 + 999) % 100000 + 1) {
        write_shard(path, 4, tokens);
        if (write(done, "", 1) != 1) _exit(1);
    }
}

/* Returns its number of tokens; 0: its files contradict each other, and that is seen. */
static int64_t expect_whole(const char *path)
{
    message why = {""};
    shard s;
    if (shard_open(&s, path, &why) != OK) {
        static const char *const sentences[] = {"killed.ds.metadata says ",
                                                "the last document ends at token ",
                                                " bytes, expected 8 for each of 1 to "};
        bool told = false;
        for (int i = 0; i < 3; i++) told = told || strstr(why.text, sentences[i]);
        if (!told) fail_msg("%s", why.text);
        return 0;
    }
    const int64_t tokens = s.tokens, documents = tokens <= 1       ? 1
                                                 : tokens <= 1000  ? 2
                                                 : tokens <= 77777 ? 3
                                                                   : 4;
    int32_t *out = malloc(sizeof *out * (size_t)tokens);
    good(shard_read(&s, 0, tokens, 60000, out, &why), &why);
    assert_memory_equal(out, id, sizeof *out * (size_t)tokens);
    assert_int_equal(s.documents, documents);
    free(out);
    shard_close(&s);
    return tokens;
}

/* kill -9 at random moments: what has its name is whole, and its index is its own, or it is refused: the
 * moment between the names may be hit. */
static void test_kill(void **state)
{
    (void)state;
    const char *path = scratch_path("killed.ds.zst");
    int64_t seen = 0;
    for (int round = 0; round < 25; round++) {
        int done[2];
        char byte;
        fflush(NULL);
        assert_int_equal(pipe(done), 0);
        const pid_t child = fork();
        if (child == 0) write_for_ever(path, done[1]);
        for (int i = 0; i <= round % 3; i++) assert_int_equal(read(done[0], &byte, 1), 1);
        usleep((useconds_t)(round * 7919 % 20000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(done[0]);
        close(done[1]);
        assert_true(file_exists(path)); /* there was one: it is replaced, not removed first */
        seen += expect_whole(path);
    }
    assert_true(seen > 0);
}

/* Side files are shared by X.ds and X.ds.zst: fine when both hold the same. */
static void test_sibling(void **state)
{
    (void)state;
    message why = {""};
    shard_writer *w;
    shard_summary s;
    const shard_identity i = identity(4);
    const char *raw = scratch_path("two.ds"), *zst = scratch_path("two.ds.zst");
    write_shard(raw, 4, 5000);
    write_shard(zst, 4, 5000);
    good(shard_writer_create(&w, zst, &i, &why), &why);
    good(shard_writer_append(w, id, 5000, &why), &why);
    assert_int_equal(shard_writer_finish(w, &s, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "two.ds holds other documents"));
    shard_writer_abandon(w);
    shard old;
    good(shard_open(&old, raw, &why), &why);
    assert_int_equal(old.documents, 3);
    shard_close(&old);
}

/* A new shard that cannot get its names leaves an old one whole. */
static void test_old_stays(void **state)
{
    (void)state;
    message why = {""};
    shard_writer *w;
    shard_summary s;
    const shard_identity i = identity(4);
    const char *path = scratch_path("kept.ds.zst"), *index = scratch_path("kept.ds.index");
    write_shard(path, 4, 5000);
    const int64_t bytes = file_bytes(path);
    good(shard_writer_create(&w, path, &i, &why), &why);
    good(shard_writer_append(w, id, 4000, &why), &why);
    assert_int_equal(remove(index), 0); /* a folder cannot be replaced by a file */
    good(folder_make(index, &why), &why);
    assert_int_equal(shard_writer_finish(w, &s, &why), ERR_INPUT);
    shard_writer_abandon(w);
    assert_int_equal(file_bytes(path), bytes);
    good(folder_remove(index, &why), &why);
    shard old;
    good(shard_open(&old, path, &why), &why);
    assert_int_equal(old.tokens, 5000);
    shard_close(&old);
    /* Another process that writes the same shard. */
    shard_writer *other;
    good(shard_writer_create(&w, path, &i, &why), &why);
    assert_int_equal(shard_writer_create(&other, path, &i, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "kept.ds.zst: another process is writing it"));
    good(shard_writer_append(w, id, 4000, &why), &why);
    good(shard_writer_finish(w, &s, &why), &why);
    good(shard_open(&old, path, &why), &why);
    assert_int_equal(old.tokens, 4000);
    shard_close(&old);
}

/* ---- dataset.json -------------------------------------------------------------------------------------- */

static dataset_manifest manifest_of(const char *folder)
{
    dataset_manifest m;
    message why = {""};
    char path[PATH_BYTES];
    good(dataset_manifest_read(&m, path_join(path, folder, "dataset.json"), &why), &why);
    return m;
}

static void test_manifest(void **state)
{
    (void)state;
    message why = {""};
    char folder[512], path[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", scratch_path("set"));
    good(folder_make(folder, &why), &why);
    shard_identity i = identity(4);
    shard_summary s[3];
    s[0] = write_shard(path_join(path, folder, "b.ds.zst"), 4, 5000);
    s[1] = write_shard(path_join(path, folder, "a.ds.zst"), 4, 90000);
    good(dataset_manifest_write(folder, &i, s, 2, &why), &why);
    dataset_manifest m = manifest_of(folder);
    assert_int_equal(m.count, 2);
    assert_string_equal(m.shard[0].name, "a.ds.zst");
    assert_int_equal(m.shard[0].tokens, 90000);
    assert_int_equal(m.shard[0].documents, 4);
    assert_string_equal(m.shard[1].sha256, s[0].sha256);
    assert_string_equal(m.identity.tokenizer, "some|tokenizer");
    assert_ptr_equal(dataset_manifest_find(&m, "b.ds.zst"), &m.shard[1]);
    assert_null(dataset_manifest_find(&m, "c.ds.zst"));
    dataset_manifest_free(&m);

    /* One is replaced, one is new, one is gone. */
    s[0] = write_shard(path_join(path, folder, "b.ds.zst"), 4, 6000);
    s[2] = write_shard(path_join(path, folder, "c.ds.zst"), 4, 7000);
    remove(path_join(path, folder, "a.ds.zst"));
    good(dataset_manifest_write(folder, &i, (shard_summary[]){s[2], s[0]}, 2, &why), &why);
    m = manifest_of(folder);
    assert_int_equal(m.count, 2);
    assert_int_equal(m.shard[0].tokens, 6000);
    assert_int_equal(m.shard[1].tokens, 7000);
    dataset_manifest_free(&m);

    i.vocabulary = 70000;
    assert_int_equal(dataset_manifest_write(folder, &i, s, 1, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "another vocabulary"));
}

/* Every byte of a manifest matters, or changes nothing that is kept. */
static void test_manifest_damage(void **state)
{
    (void)state;
    message why = {""};
    char folder[512], path[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", scratch_path("set2"));
    good(folder_make(folder, &why), &why);
    const shard_identity i = identity(4);
    const shard_summary s = write_shard(path_join(path, folder, "b.ds.zst"), 4, 5000);
    good(dataset_manifest_write(folder, &i, &s, 1, &why), &why);
    const dataset_manifest whole = manifest_of(folder);
    int64_t bytes, refused = 0;
    char *text = contents(path_join(path, folder, "dataset.json"), &bytes);
    for (int64_t k = 0; k < bytes; k++)
        for (int bit = 0; bit < 8; bit++) {
            dataset_manifest m;
            text[k] = (char)(text[k] ^ 1 << bit);
            const status got = dataset_manifest_parse(&m, "dataset.json", text, bytes, &why);
            text[k] = (char)(text[k] ^ 1 << bit);
            refused += got != OK;
            if (got != OK) continue;
            assert_int_equal(m.count, 1);
            assert_memory_equal(&m.shard[0], &whole.shard[0], sizeof m.shard[0]);
            assert_string_equal(m.fingerprint, whole.fingerprint);
            assert_int_equal(m.identity.vocabulary, whole.identity.vocabulary);
            dataset_manifest_free(&m);
        }
    assert_true(refused > 8 * bytes / 2);
    dataset_manifest m;
    for (int64_t k = 0; k < bytes - 1; k++)
        assert_int_equal(dataset_manifest_parse(&m, "dataset.json", text, k, &why), ERR_INPUT);
    free(text);
    free(whole.shard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw),       cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_count_for_people),
        cmocka_unit_test(test_no_space),  cmocka_unit_test(test_sibling),
        cmocka_unit_test(test_old_stays), cmocka_unit_test(test_kill),
        cmocka_unit_test(test_manifest),  cmocka_unit_test(test_manifest_damage),
    };
    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, NULL);
}
