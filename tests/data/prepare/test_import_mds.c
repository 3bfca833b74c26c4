/* Folders of MDS: those that MosaicML's writer made, and shards and indexes built here byte by byte. */
#include "base/memory.h"
#include "tests/data/prepare/import_check.h"
#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

static const import_settings eos7 = {.eos = 7, .blocks = true, .column = ""};

/* ---- building ------------------------------------------------------------------------------------------ */

/* Makes the folder anew and returns its path. */
static const char *folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s", scratch_path(name));
    message why;
    assert_int_equal(folder_remove(path, &why), OK);
    assert_int_equal(folder_make(path, &why), OK);
    return path;
}

/* One shard "s" with these bytes, and what its entry in index.json says but for the files. */
typedef struct spec {
    const char *columns, *encodings, *sizes; /* insides of the lists */
    int samples;
    char raw[512];
    int64_t bytes;
    const char *compression, *zip; /* JSON; NULL: null */
    const char *hashes;            /* inside of the raw file's object */
} spec;

static void write_index(const char *name, const spec *s)
{
    char text[4096], path[64];
    const int n = snprintf(
        text, sizeof text,
        "{\"version\": 2, \"shards\": [{\"column_names\": [%s], \"column_encodings\": [%s], "
        "\"column_sizes\": [%s], "
        "\"compression\": %s, \"format\": \"mds\", \"hashes\": [], \"raw_data\": {\"basename\": \"s\", "
        "\"bytes\": %lld, "
        "\"hashes\": {%s}}, \"samples\": %d, \"size_limit\": 67108864, \"version\": 2, \"zip_data\": %s}]}",
        s->columns, s->encodings, s->sizes, s->compression ? s->compression : "null", (long long)s->bytes,
        s->hashes ? s->hashes : "", s->samples, s->zip ? s->zip : "null");
    snprintf(path, sizeof path, "%s/index.json", name);
    scratch_write(path, text, n);
}

static const char *build(const spec *s)
{
    const char *path = folder("built");
    write_index("built", s);
    scratch_write("built/s", s->raw, s->bytes);
    return path;
}

static void put(spec *s, const void *data, int64_t bytes)
{
    memcpy(s->raw + s->bytes, data, (size_t)bytes);
    s->bytes += bytes;
}

static void put_u32(spec *s, uint32_t x) { put(s, &x, 4); }

/* A shard with one sample, whose bytes are these. */
static spec one_sample(const char *columns, const char *encodings, const char *sizes, const void *sample,
                       int64_t bytes)
{
    spec s = {.columns = columns, .encodings = encodings, .sizes = sizes, .samples = 1};
    put_u32(&s, 1);
    put_u32(&s, 14);
    put_u32(&s, 14 + (uint32_t)bytes);
    put(&s, "{}", 2); /* the copy of the entry, which is not read */
    put(&s, sample, bytes);
    return s;
}

/* A column tokens of ndarray:uint16: size, shape, ids. */
static spec array(const void *value, uint32_t bytes)
{
    char sample[256];
    memcpy(sample, &bytes, 4);
    memcpy(sample + 4, value, bytes);
    return one_sample("\"tokens\"", "\"ndarray:uint16\"", "null", sample, 4 + bytes);
}

static void expect_ids_of(const spec *s, const import_settings *settings, int64_t count)
{
    static documents got;
    message why = {""};
    if (read_source(&got, build(s), settings, 100, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(got.count, count);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(got.id[i], 21 + i);
}

/* A copy of a golden folder. */
static const char *copy_folder(const char *name)
{
    static const char *const files[] = {"index.json",      "shard.00000.mds",      "shard.00001.mds",
                                        "shard.00002.mds", "shard.00000.mds.zstd", "shard.00001.mds.zstd"};
    const char *path = folder("copy");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char from[128], to[128];
        snprintf(from, sizeof from, "%s/%s", name, files[i]);
        snprintf(to, sizeof to, "copy/%s", files[i]);
        if (!file_exists(golden(from))) continue;
        int64_t bytes;
        char *text = golden_bytes(from, &bytes);
        scratch_write(to, text, bytes);
        free(text);
    }
    return path;
}

/* The first `from` in a golden folder's index becomes `to`. */
static const char *edit_index(const char *name, const char *from, const char *to)
{
    char text[8192];
    char in[64];
    int64_t bytes;
    const char *path = copy_folder(name);
    snprintf(in, sizeof in, "%s/index.json", name);
    char *was = golden_bytes(in, &bytes), *at = strstr(was, from);
    assert_non_null(at);
    const int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - was), was, to, at + strlen(from));
    free(was);
    scratch_write("copy/index.json", text, n);
    return path;
}

/* ---- good ones ----------------------------------------------------------------------------------------- */

static void test_originals(void **state)
{
    (void)state;
    expect_source(golden("mds-raw"), &nothing_given, "wide.txt", true);
    expect_source(golden("mds-zstd"), &nothing_given, "narrow.txt", true);
    expect_source(golden("mds-bytes"), &nothing_given, "wide.txt", true);
    expect_source(golden("mds-raw"), &eos7, "wide.txt", false);
    expect_source(golden("mds-blocks"), &eos7, "wide.txt", false);
}

static void test_what_is_known(void **state)
{
    (void)state;
    import_source s;
    message why = {""};
    assert_int_equal(import_open(&s, golden("mds-blocks"), &nothing_given, &why), OK);
    assert_string_equal(s.format, "mds");
    assert_int_equal(s.tokens, 320);
    assert_int_equal(s.documents, 20);
    assert_true(s.keeps_documents);
    import_close(&s);
    assert_int_equal(import_open(&s, golden("mds-zstd"), &eos7, &why), OK);
    assert_int_equal(s.tokens, -1);
    assert_int_equal(s.documents, -1);
    assert_false(s.keeps_documents);
    import_close(&s);
}

/* Streaming decompresses into the same folder, and then may remove what it decompressed. */
static void test_decompressed_beside(void **state)
{
    (void)state;
    char raw[1024];
    int64_t bytes;
    const char *path = copy_folder("mds-zstd");
    char *zip = golden_bytes("mds-zstd/shard.00000.mds.zstd", &bytes);
    const size_t n = ZSTD_decompress(raw, sizeof raw, zip, (size_t)bytes);
    free(zip);
    scratch_write("copy/shard.00000.mds", raw, (int64_t)n);
    unlink(scratch_path("copy/shard.00000.mds.zstd"));
    expect_source(path, &nothing_given, "narrow.txt", true);
    raw[n - 1] ^= 1;
    scratch_write("copy/shard.00000.mds", raw, (int64_t)n);
    expect_refused(path, "shard.00000.mds: is damaged: its sha256 is");
}

static void test_shapes(void **state)
{
    (void)state;
    spec s = array("\4\3\x15\0\x16\0\x17\0", 8); /* 3, in one byte */
    expect_ids_of(&s, &nothing_given, 3);
    s = array("\5\3\0\x15\0\x16\0\x17\0", 9); /* in two */
    expect_ids_of(&s, &nothing_given, 3);
    s = array("\6\3\0\0\0\x15\0\x16\0\x17\0", 11);
    expect_ids_of(&s, &nothing_given, 3);
    s = array("\7\3\0\0\0\0\0\0\0\x15\0\x16\0\x17\0", 15);
    expect_ids_of(&s, &nothing_given, 3);
    s = array("\x0c\1\3\1\x15\0\x16\0\x17\0", 10); /* 1 x 3 x 1 */
    expect_ids_of(&s, &nothing_given, 3);
    s = array("\4\0", 2); /* none */
    expect_ids_of(&s, &nothing_given, 0);
    s = one_sample("\"tokens\"", "\"ndarray:uint16:1,3\"", "6", "\x15\0\x16\0\x17\0", 6);
    expect_ids_of(&s, &nothing_given, 3);
    s = one_sample("\"tokens\"", "\"ndarray:int8:3\"", "3", "\x15\x16\x17", 3);
    expect_ids_of(&s, &nothing_given, 3);
}

static void test_columns(void **state)
{
    (void)state;
    /* "a" varies, "b" has 2 bytes, "input_ids" and "z" vary */
    static const char sample[] = "\3\0\0\0"
                                 "\4\0\0\0"
                                 "\1\0\0\0"
                                 "abc"
                                 "de"
                                 "\4\1\x15\0"
                                 "f";
    spec s = one_sample("\"a\", \"b\", \"input_ids\", \"z\"",
                        "\"str\", \"ndarray:uint8:2\", \"ndarray:uint16\", \"pkl\"", "null, 2, null, null",
                        sample, 22);
    expect_ids_of(&s, &nothing_given, 1);
    import_settings b = nothing_given;
    b.column = "b";
    static documents got;
    message why = {""};
    assert_int_equal(read_source(&got, build(&s), &b, 10, &why), OK);
    assert_true(got.count == 2 && got.id[0] == 'd' && got.id[1] == 'e');
    b.column = "a";
    expect_refused_as(ERR_INPUT, build(&s), &b, "shard 0: column a is str; ids are read from bytes (int64)");
    b.column = "z";
    expect_refused_as(ERR_INPUT, build(&s), &b, "column z is pickled (pkl): pickles are programs");
    b.column = "tokens";
    expect_refused_as(ERR_INPUT, build(&s), &b, "there is no column tokens; there are: a, b, input_ids, z");
    s.columns = "\"a\", \"b\", \"ids\", \"z\"";
    expect_refused(build(&s), "no column tokens or input_ids; import.column names one of: a, b, ids, z");
}

/* ---- the index ----------------------------------------------------------------------------------------- */

static void test_bad_index(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *expect;
    } cases[] = {
        {"}], \"version\": 2}", "}], \"version\": 1}", "index.json: version is not 2"},
        {"\"version\": 2", "\"version\": 3", "index.json: shard 0: version is not 2"},
        {"\"format\": \"mds\"", "\"format\": \"csv\"", "shard 0: format is \"csv\", expected \"mds\""},
        {"\"samples\": ", "\"samples\": -", "samples is not a number from 0"},
        {"\"samples\": ", "\"samples\": 99999", "samples do not fit in the 988 bytes of shard.00000.mds"},
        {"\"samples\": ", "\"samples\": 0.", "samples is not a number"},
        {"\"samples\": 6", "\"samples\": 5", "shard.00000.mds: has 6 samples, but index.json says 5"},
        {"\"bytes\": 988", "\"bytes\": -1",
         "the bytes of shard.00000.mds are not a number from 0 to 4294967295"},
        {"\"bytes\": 988", "\"bytes\": 4294967296", "the bytes of shard.00000.mds are not a number"},
        {"\"bytes\": 988", "\"bytes\": 989", "shard.00000.mds: has 988 bytes, but index.json says 989"},
        {"\"bytes\": 988", "\"bytes\": 7", "samples do not fit in the 7 bytes"},
        {"\"bytes\": 988", "\"bytes\": true", "the bytes of shard.00000.mds are not a number"},
        {"\"basename\": \"shard", "\"basename\": \"../shard",
         "raw_data is \"../shard.00000.mds\", but only names of files"},
        {"\"basename\": \"shard", "\"basename\": \"/shard", "raw_data is \"/shard.00000.mds\""},
        {"\"basename\": \"shard.00000.mds\"", "\"basename\": \"..\"", "raw_data is \"..\""},
        {"\"basename\": \"shard.00000.mds\"", "\"basename\": \"\"", "raw_data is \"\""},
        {"\"basename\": \"shard.00000.mds\"", "\"basename\": \"a\\nb\"", "raw_data is \"a"},
        {"\"basename\": \"shard.00000.mds\"", "\"basename\": 1", "raw_data has no basename"},
        {"\"basename\": \"shard.00000.mds\"", "\"basename\": \"shard.00009.mds\"",
         "shard.00009.mds: cannot be opened"},
        {"\"compression\": null", "\"compression\": \"gz:5\"",
         "compression is \"gz:5\", and only zstd is read"},
        {"\"compression\": null", "\"compression\": \"zstdx\"", "compression is \"zstdx\""},
        {"\"compression\": null", "\"compression\": \"zstd:3\"", "zip_data has no basename"},
        {"\"sha1\": \"", "\"sha1\": \"0", "shard.00000.mds: is damaged: its sha1 is"},
        {"\"xxh3_64\": \"", "\"xxh3_64\": \"0", "shard.00000.mds: is damaged: its xxh3_64 is"},
        {"\"xxh3_64\": \"", "\"xxh3_64\": 1, \"x\": \"", "the xxh3_64 of shard.00000.mds is not a text"},
        {"\"column_sizes\": [null", "\"column_sizes\": [0",
         "column_sizes[0] is neither null nor a number from 1"},
        {"\"column_sizes\": [null", "\"column_sizes\": [9223372036854775807", "column_sizes[0] is neither"},
        {"\"column_sizes\": [null, ", "\"column_sizes\": [", "are not lists of one length"},
        {"\"column_sizes\": [null, null", "\"column_sizes\": [null, 8",
         "column tokens has a size of 8 bytes, expected -1"},
        {"\"column_names\": [\"source\"", "\"column_names\": [1",
         "a column's name or encoding is not a text"},
        {"ndarray:int32", "ndarray:float32", "column tokens is ndarray:float32; ids are read from"},
        {"ndarray:int32", "ndarray", "column tokens is ndarray; ids are read from"},
        {"ndarray:int32", "ndarray:int32:", "column tokens is ndarray:int32:; ids are read from"},
        {"ndarray:int32", "ndarray:int32:0", "column tokens is ndarray:int32:0; ids are read from"},
        {"ndarray:int32", "ndarray:int32:4294967295,4294967295,2",
         "column tokens is ndarray:int32:4294967295,"},
        {"ndarray:int32", "ndarray:int32:99999999999999999999", "column tokens is ndarray:int32:99999"},
        {"ndarray:int32", "ndarray:int32:1,,2", "column tokens is ndarray:int32:1,,2"},
        {"ndarray:int32", "ndarray:int32:16", "column tokens has a size of -1 bytes, expected 64"},
        {"ndarray:int32", "pkl", "column tokens is pickled (pkl)"},
        {"{\"shards\": [", "{\"shards\": [1, ", "shard 0: format is \"\""},
        {"{\"shards\": [", "{\"shards\": 1, \"x\": [", "shards is not a list"},
        {"{\"shards\": [", "[{\"shards\": [", "index.json: broken JSON"},
        {"{\"shards\": [", "{\"shards\": [], \"shards\": [", "index.json: broken JSON: duplicate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refused(edit_index("mds-raw", cases[i].from, cases[i].to), cases[i].expect);
    expect_refused(edit_index("mds-blocks", ":16\"", ":15\""),
                   "column tokens has a size of 128 bytes, expected 120");
    expect_refused(edit_index("mds-blocks", "\"basename\": \"shard.00000.mds.zstd", "\"basename\": \"x/y"),
                   "zip_data is \"x/y\", but only names");
    expect_refused(edit_index("mds-blocks", "\"bytes\": 1478", "\"bytes\": 1479"),
                   "shard.00000.mds.zstd: has 1478 bytes, but index.json says 1479");
}

static void test_no_index(void **state)
{
    (void)state;
    expect_refused(folder("empty"), "empty: is a folder without index.json");
    import_settings given = nothing_given;
    given.format = IMPORT_MDS;
    expect_refused_as(ERR_INPUT, golden("mds-raw/index.json"), &given,
                      "index.json: is no folder, but mds is read from the folder of its index.json");
    expect_refused_as(ERR_INPUT, folder("empty"), &given, "index.json: cannot be opened");
}

/* Says on standard error, once, and goes on. */
static void test_unknown_hash(void **state)
{
    (void)state;
    spec s = array("\4\3\x15\0\x16\0\x17\0", 8);
    s.hashes = "\"blake2s\": \"00\", \"nonsense\": \"11\"";
    const int saved = dup(STDERR_FILENO), file = open(scratch_path("said"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(file, STDERR_FILENO);
    expect_ids_of(&s, &nothing_given, 3);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    char said[2000] = {0};
    assert_true(pread(file, said, sizeof said - 1, 0) > 0);
    close(file);
    assert_non_null(
        strstr(said, "index.json: hashes by blake2s cannot be computed here: they are not checked"));
    assert_null(strstr(said, "nonsense"));
}

/* ---- shards -------------------------------------------------------------------------------------------- */

static void test_bad_offsets(void **state)
{
    (void)state;
    static const struct {
        int64_t at;
        uint32_t value;
        const char *expect;
    } cases[] = {
        {0, 2, "s: has 2 samples, but index.json says 1"},
        {4, 11, "s: the offset at byte 4 is 11, expected 12 to 26"},
        {4, 27, "s: the offset at byte 4 is 27, expected 12 to 26"},
        {4, UINT32_MAX, "s: the offset at byte 4 is 4294967295"},
        {4, 15, "s: sample 0: its columns end at byte"},
        {8, 13, "s: the offset at byte 8 is 13, expected 14 to 26"},
        {8, 27, "s: the offset at byte 8 is 27, expected 14 to 26"},
        {8, 25, "s: sample 0: its columns end at byte 26, but the sample at 25"},
        {14, 9, "s: sample 0: its columns end at byte 27, but the sample at 26"},
        {14, UINT32_MAX, "s: sample 0: its columns end at byte 4294967313, but the sample at 26"},
        {14, 0, "s: sample 0: its columns end at byte 18, but the sample at 26"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spec s = array("\4\3\x15\0\x16\0\x17\0", 8);
        memcpy(s.raw + cases[i].at, &cases[i].value, 4);
        expect_refused(build(&s), cases[i].expect);
    }
    spec s = array("\4\3\x15\0\x16\0\x17\0", 8);
    put(&s, "more", 4);
    expect_refused(build(&s), "s: the file was expected to end at byte 26, but goes on");
}

static void test_bad_arrays(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint32_t bytes;
    } cases[] = {
        {"", 0},                                            /* no shape */
        {"\0\x15\0", 3},                                    /* no dimension */
        {"\4", 1},                                          /* its dimension is missing */
        {"\7\1\0\0", 4},                                    /* a part of it */
        {"\4\3\x15\0\x16\0", 6},                            /* fewer ids than the shape */
        {"\4\1\x15\0\x16\0", 6},                            /* more */
        {"\4\1\x15", 3},                                    /* half an id */
        {"\x0b\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\x15\0", 19}, /* 2^32 x 2^32 is 0, in 64 bits; 0 x ... */
        {"\x0b\0\0\0\0\0\0\0\x80\2\0\0\0\0\0\0\0", 17},     /* 2^63 x 2 is 0, in 64 bits: no ids */
        {"\xff\1\1\1", 4},                                  /* 63 dimensions */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const spec s = array(cases[i].value, cases[i].bytes);
        expect_refused(build(&s), "s: sample 0: column tokens is not an array of 2-byte ids with its shape");
    }
    spec s = one_sample("\"tokens\"", "\"bytes\"", "null",
                        "\7\0\0\0"
                        "1234567",
                        11);
    expect_refused(build(&s), "s: sample 0: the 7 bytes of column tokens are not ids of 8 bytes");
    s = one_sample("\"tokens\"", "\"ndarray:int32:2\"", "8", "\x15\0\0\0\xff\xff\xff\xff", 8);
    expect_refused(build(&s), "s: sample 0: id 1 (byte 18) is -1, expected 0 to 16777215");
}

static void test_cut(void **state)
{
    (void)state;
    spec s = array("\4\3\x15\0\x16\0\x17\0", 8);
    const char *path = build(&s);
    for (int64_t bytes = 0; bytes < s.bytes; bytes++) {
        scratch_write("built/s", s.raw, bytes);
        expect_refused(path, "bytes, but index.json says 26");
    }
}

/* ---- compressed shards --------------------------------------------------------------------------------- */

static char zip_entry[200];

/* The shard compressed; the file gets `bytes` of it (-1: all). */
static const char *build_zip(spec *s, const void *zip, int64_t bytes)
{
    const char *path = folder("built");
    s->compression = "\"zstd\"";
    snprintf(zip_entry, sizeof zip_entry, "{\"basename\": \"s.zstd\", \"bytes\": %lld, \"hashes\": {}}",
             (long long)bytes);
    s->zip = zip_entry;
    write_index("built", s);
    scratch_write("built/s.zstd", zip, bytes);
    return path;
}

static void test_bad_zip(void **state)
{
    (void)state;
    char zip[1024];
    spec s = array("\4\3\x15\0\x16\0\x17\0", 8);
    const int64_t all = (int64_t)ZSTD_compress(zip, sizeof zip, s.raw, (size_t)s.bytes, 3);
    static documents got;
    message why = {""};
    assert_int_equal(read_source(&got, build_zip(&s, zip, all), &nothing_given, 10, &why), OK);
    assert_int_equal(got.count, 3);
    for (int64_t bytes = 1; bytes < all; bytes++)
        expect_refused(build_zip(&s, zip, bytes), "s.zstd: the file is cut");
    expect_refused(build_zip(&s, zip, 0), "s.zstd: the decompressed content ends at byte 0, 4 more");
    s.bytes++;
    expect_refused(build_zip(&s, zip, all), "s.zstd: the last sample ends at byte 26 of 27");
    s.bytes -= 2;
    expect_refused(build_zip(&s, zip, all), "s.zstd: the offset at byte 8 is 26, expected 14 to 25");
    s.bytes++;
    zip[0] ^= 1;
    expect_refused(build_zip(&s, zip, all), "s.zstd: cannot be decompressed behind byte 0");
    zip[0] ^= 1;
    memcpy(zip + all, zip, (size_t)all);
    expect_refused(build_zip(&s, zip, 2 * all),
                   "s.zstd: the decompressed content was expected to end at byte 26");
}

/* 32 KiB of the same block repeated are 1 GiB of zeroes: content that is not requested is never decompressed.
 */
static void test_bomb(void **state)
{
    (void)state;
    enum { BLOCKS = 8192 };
    static unsigned char zip[6 + 4 * BLOCKS + 64];
    static const unsigned char header[6] = {0x28, 0xb5, 0x2f, 0xfd, 0, 0x38}; /* window of 128 KiB */
    int64_t at = sizeof header;
    memcpy(zip, header, sizeof header);
    for (int i = 0; i < BLOCKS; i++, at += 4) {
        const uint32_t block = (uint32_t)(131072 << 3 | 1 << 1 | (i == BLOCKS - 1)); /* RLE of a zero */
        memcpy(zip + at, &block, 3);
    }
    spec s = {
        .columns = "\"tokens\"", .encodings = "\"bytes\"", .sizes = "null", .samples = 0, .bytes = 1000};
    const int64_t before = memory_peak_bytes();
    expect_refused(build_zip(&s, zip, at), "s.zstd: the offset at byte 4 is 0, expected 8 to 1000");
    s.samples = 200; /* offsets of zero */
    s.bytes = UINT32_MAX;
    expect_refused(build_zip(&s, zip, at), "s.zstd: has 0 samples, but index.json says 200");
    assert_true(memory_peak_bytes() - before < 16 << 20);
}

/* A window of more than 128 MiB is refused before there is memory for it. */
static void test_window(void **state)
{
    (void)state;
    static const unsigned char zip[] = {0x28, 0xb5, 0x2f, 0xfd, 0, 0x90, 3, 0, 0, 0}; /* 2^28 */
    spec s = {.columns = "\"tokens\"", .encodings = "\"bytes\"", .sizes = "null", .samples = 0, .bytes = 8};
    expect_refused(build_zip(&s, zip, sizeof zip), "s.zstd: cannot be decompressed behind byte 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_originals),
        cmocka_unit_test(test_what_is_known),
        cmocka_unit_test(test_decompressed_beside),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_bad_index),
        cmocka_unit_test(test_no_index),
        cmocka_unit_test(test_unknown_hash),
        cmocka_unit_test(test_bad_offsets),
        cmocka_unit_test(test_bad_arrays),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_bad_zip),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
