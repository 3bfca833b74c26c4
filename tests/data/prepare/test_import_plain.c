/* llm.c's files, raw ids and datatrove's shards: those that were written elsewhere, and every way in which
 * they can be wrong. */
#include "tests/data/prepare/import_check.h"

static const import_settings raw2 = {.format = IMPORT_NANOGPT, .token_bytes = 2, .eos = -1, .column = ""};
static const import_settings raw4 = {.format = IMPORT_NANOGPT, .token_bytes = 4, .eos = -1, .column = ""};

/* ---- llm.c --------------------------------------------------------------------------------------------- */

static void test_llmc(void **state)
{
    (void)state;
    expect_source(golden("llmc/narrow.bin"), &nothing_given, "narrow.txt", false);
    expect_source(golden("llmc/wide.bin"), &nothing_given, "wide.txt", false);
}

static const char *llmc(int32_t magic, int32_t version, int32_t tokens, int64_t content)
{
    static char file[4096];
    const int32_t header[3] = {magic, version, tokens};
    memset(file, 0, sizeof file);
    memcpy(file, header, sizeof header);
    return scratch_write("llmc.bin", file, 1024 + content);
}

static void test_bad_llmc(void **state)
{
    (void)state;
    expect_refused(llmc(20240522, 1, 3, 6),
                   "llmc.bin|a multiple-choice evaluation of llm.c (magic 20240522)");
    expect_refused(llmc(20240326, 3, 3, 6), "llmc.bin|a model of llm.c (magic 20240326), not tokens");
    expect_refused(llmc(20240803, 3, 3, 6), "a model of llm.c (magic 20240803)");
    expect_refused(llmc(20240327, 3, 3, 6), "a debugging state of llm.c");
    expect_refused(llmc(20240328, 3, 3, 6), "a tokenizer of llm.c");
    expect_refused(llmc(20240527, 3, 3, 6), "a training state of llm.c");
    expect_refused(llmc(20240520, 2, 3, 6), "version 2 of llm.c's GPT-2 tokens, expected version 1");
    expect_refused(llmc(20240801, 1, 3, 12), "version 1 of llm.c's Llama 3 tokens, expected version 7");
    expect_refused(llmc(20240520, 1, 3, 5), "3 tokens of 2 bytes, but 5 bytes are behind the header");
    expect_refused(llmc(20240520, 1, 3, 8), "3 tokens of 2 bytes, but 8 bytes");
    expect_refused(llmc(20240801, 7, 3, 6), "3 tokens of 4 bytes, but 6 bytes");
    expect_refused(llmc(20240520, 1, -1, 0), "-1 tokens of 2 bytes, but 0 bytes");
    expect_refused(llmc(20240520, 1, INT32_MIN, 0), "-2147483648 tokens");
    expect_refused(llmc(20240801, 7, INT32_MAX, 4), "2147483647 tokens of 4 bytes, but 4 bytes");
    /* 2^30 tokens of 4 bytes are 0 bytes, in 32 bits. */
    expect_refused(llmc(20240801, 7, 1 << 30, 0), "1073741824 tokens of 4 bytes, but 0 bytes");
    expect_refused(edited("llmc/narrow.bin", "cut.bin", 0, "", 0, 1000), "cut.bin|ends at byte 1000");
    expect_refused(edited("llmc/narrow.bin", "cut.bin", 0, "", 0, 1471), "224 tokens of 2 bytes");
    import_settings llmc_given = nothing_given;
    llmc_given.format = IMPORT_LLMC;
    expect_refused_as(ERR_INPUT, golden("nanogpt/narrow.bin"), &llmc_given, "ends at byte 448");
    expect_refused_as(ERR_INPUT, llmc(1, 1, 3, 6), &llmc_given,
                      "begins with 1, but llm.c's tokens begin with 20240520 or 20240801");
}

/* ---- raw ids ------------------------------------------------------------------------------------------- */

static void test_raw(void **state)
{
    (void)state;
    expect_source(golden("nanogpt/narrow.bin"), &raw2, "narrow.txt", false);
    expect_source(golden("nanogpt/wide.bin"), &raw4, "wide.txt", false);
}

/* Never guessed, whatever the file looks like. */
static void test_raw_not_said(void **state)
{
    (void)state;
    import_settings unsaid = raw2;
    unsaid.token_bytes = 0;
    expect_refused_as(ERR_USAGE, golden("nanogpt/wide.bin"), &nothing_given,
                      "wide.bin|import.format=nanogpt with import.token_bytes=2 or 4");
    expect_refused_as(ERR_USAGE, golden("nanogpt/wide.bin"), &unsaid, "give import.token_bytes=2 or 4");
}

static void test_raw_wrong_width(void **state)
{
    (void)state;
    expect_refused_as(ERR_INPUT, golden("nanogpt/narrow.bin"), &raw4,
                      "narrow.bin|with 4 bytes each, are not tokens|import.token_bytes=2");
    expect_refused_as(ERR_INPUT, golden("nanogpt/wide.bin"), &raw2,
                      "wide.bin|with 2 bytes each, are not tokens|import.token_bytes=4");
    /* One id that is too large does not make the rest of another width. */
    expect_refused_as(ERR_INPUT, edited("nanogpt/wide.bin", "one.bin", 8, "\0\0\0\1", 4, -1), &raw4,
                      "one.bin: token 2 (byte 8) is 16777216, expected 0 to 16777215");
    expect_refused_as(ERR_INPUT, scratch_text("odd.bin", "abc"), &raw2,
                      "odd.bin|3 bytes are not a whole number of ids of 2 bytes");
    expect_refused_as(ERR_INPUT, scratch_text("odd.bin", "abcdef"), &raw4,
                      "6 bytes are not a whole number of ids of 4 bytes");
}

/* Ids of bytes and paddings with zeroes are no halves of wider ids. */
static void test_raw_small_ids(void **state)
{
    (void)state;
    static documents got;
    uint16_t text[200];
    message why = {""};
    for (int i = 0; i < 200; i++) text[i] = (uint16_t)(i * 7 % 90);
    assert_int_equal(read_source(&got, scratch_write("bytes.bin", text, sizeof text), &raw2, 100, &why), OK);
    memset(text, 0, sizeof text);
    assert_int_equal(read_source(&got, scratch_write("zeroes.bin", text, sizeof text), &raw2, 100, &why), OK);
    assert_int_equal(got.count, 200);
}

static void test_raw_is_something_else(void **state)
{
    (void)state;
    expect_refused_as(ERR_INPUT, golden("megatron/narrow.idx"), &raw2, "index of Megatron: name the .bin");
    expect_refused_as(ERR_INPUT, golden("mds-blocks/shard.00000.mds.zstd"), &raw2, "compressed by zstd");
    expect_refused_as(ERR_INPUT, scratch_write("x.npy", "\x93NUMPY\1\0", 8), &raw2, "NumPy array");
    expect_refused_as(ERR_INPUT, scratch_text("x.parquet", "PAR1...."), &nothing_given, "Parquet table");
    expect_refused_as(ERR_INPUT, scratch_write("x.arrow", "ARROW1\0\0", 8), &nothing_given, "Arrow table");
    expect_refused_as(ERR_INPUT, golden("mds-raw"), &raw2, "is a folder, but nanogpt is read from a file");
    expect_refused_as(ERR_INPUT, golden("llmc/narrow.bin"), &raw2, "begins as llm.c's files do|llmc");
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

static void test_vocabulary(void **state)
{
    (void)state;
    static documents got, want;
    message why = {""};
    import_settings limited = nothing_given;
    limited.vocabulary = 1 << 16;
    read_expected(&want, "narrow.txt");
    assert_int_equal(read_source(&got, golden("llmc/narrow.bin"), &limited, 100, &why), OK);
    limited.vocabulary--;
    int64_t at = 0;
    while (want.id[at] != limited.vocabulary) at++;
    char sentence[200];
    snprintf(sentence, sizeof sentence, "narrow.bin: token %lld (byte %lld) is 65535, expected 0 to 65534",
             (long long)at, (long long)(1024 + 2 * at));
    expect_refused_as(ERR_INPUT, golden("llmc/narrow.bin"), &limited, sentence);
    const uint32_t large[] = {1, (1 << 24) - 1, 1 << 24};
    const char *path = edited("llmc/wide.bin", "large.bin", 1024 + 4 * 300, large, sizeof large, -1);
    expect_refused(path, "large.bin: token 302 (byte 2232) is 16777216, expected 0 to 16777215");
    limited.vocabulary = INT32_MAX;
    assert_int_equal(read_source(&got, path, &limited, 100, &why), OK);
    assert_int_equal(got.id[302], 1 << 24);
}

static void test_token_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t vocabulary;
        int bytes;
    } cases[] = {{"llmc/narrow.bin", 0, 2},       {"llmc/wide.bin", 0, 4},     {"llmc/wide.bin", 65536, 2},
                 {"llmc/narrow.bin", 65537, 4},   {"llmc/wide.bin", 65537, 4}, {"mds-zstd", 0, 2},
                 {"megatron/narrow.bin", 0, 2},   {"mds-bytes", 0, 4},         {"mds-blocks", 0, 4},
                 {"megatron/wide64.bin", 100, 2}, {"datatrove/wide.ds", 0, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        import_source s;
        message why = {""};
        import_settings settings = nothing_given;
        settings.vocabulary = cases[i].vocabulary;
        if (import_open(&s, golden(cases[i].name), &settings, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(s.token_bytes, cases[i].bytes);
        import_close(&s);
    }
}

/* ---- datatrove ----------------------------------------------------------------------------------------- */

/* Its index lists a document without tokens, which is not one here. */
static void test_datatrove(void **state)
{
    (void)state;
    expect_source(golden("datatrove/narrow.ds"), &nothing_given, "narrow.txt", true);
    expect_source(golden("datatrove/wide.ds"), &nothing_given, "wide.txt", true);
    import_source s;
    message why = {""};
    assert_int_equal(import_open(&s, golden("datatrove/narrow.ds"), &nothing_given, &why), OK);
    assert_string_equal(s.format, "datatrove");
    assert_string_equal(s.tokenizer, "golden/tokenizer.json");
    import_close(&s);
}

static const uint32_t few[] = {5, 6, 70000, 8};

static const char *shard_of(const uint64_t *end, int ends)
{
    return scratch_shard("d.ds", 4, few, 4, end, ends);
}

static void test_datatrove_alone(void **state)
{
    (void)state;
    import_settings wide = nothing_given;
    static documents got;
    message why = {""};
    wide.token_bytes = 4;
    const char *path = scratch_write("alone.ds", few, sizeof few);
    expect_refused_as(ERR_USAGE, path, &nothing_given, "alone.ds|.metadata|import.token_bytes=2 or 4");
    assert_int_equal(read_source(&got, path, &wide, 10, &why), OK);
    assert_int_equal(got.ends, 0);
    assert_memory_equal(got.id, few, sizeof few);
    wide.token_bytes = 2;
    expect_refused_as(
        ERR_INPUT, edited("datatrove/wide.ds", "halves.ds", 0, "", 0, -1), &wide,
        "halves.ds: its first ids, read with 2 bytes each, are not tokens|import.token_bytes=4");
    wide.token_bytes = 4;
    scratch_text("alone.ds.metadata", "name|with|bars|2\n8\n8 T");
    expect_refused_as(ERR_USAGE, path, &wide, "import.token_bytes is 4, but|alone.ds.metadata says 2");
}

static void test_bad_datatrove(void **state)
{
    (void)state;
    expect_refused(shard_of((const uint64_t[]){1, 5}, 2), "document 1 ends at token 5, expected 1 to 4");
    expect_refused(shard_of((const uint64_t[]){2, 1, 4}, 3), "document 1 ends at token 1, expected 2 to 4");
    expect_refused(shard_of((const uint64_t[]){UINT64_MAX, 4}, 2),
                   "document 0 ends at token 18446744073709551615");
    expect_refused(shard_of((const uint64_t[]){1, 3}, 2), "the last document ends at token 3|holds 4 tokens");
    scratch_text("d.ds.index", "");
    expect_refused(scratch_path("d.ds"), "the last document ends at token 0|holds 4 tokens");
    scratch_text("d.ds.index", "123456789");
    expect_refused(scratch_path("d.ds"), "d.ds.index: 9 bytes, expected 8 for each document");
    shard_of((const uint64_t[]){4}, 1);
    scratch_text("d.ds.metadata", "t|4\n5\n5 T");
    expect_refused(scratch_path("d.ds"), "holds 4 tokens (16 bytes, 4 each), but its .metadata says 5");
    scratch_text("d.ds.metadata", "t|3\n4\n4 T");
    expect_refused(scratch_path("d.ds"), "token size of \"3\" bytes");
}

/* A name that does not fit is cut between two characters, and what is no text is marked. */
static void test_names(void **state)
{
    (void)state;
    char text[200];
    memset(text, 'n', sizeof text);
    memcpy(text + 126, "\xc3\xa4", 2); /* bytes 126 and 127 of the name */
    strcpy(text + 150, "|4\n4\n4 T");
    shard_of((const uint64_t[]){4}, 1);
    scratch_text("d.ds.metadata", text);
    import_source s;
    message why = {""};
    assert_int_equal(import_open(&s, scratch_path("d.ds"), &nothing_given, &why), OK);
    assert_int_equal(strlen(s.tokenizer), 126);
    assert_memory_equal(s.tokenizer, text, 126);
    import_close(&s);
    scratch_text("d.ds.metadata", "a\xff\xc3\xa4\xc3\x01\x7f b|4\n4\n4 T");
    assert_int_equal(import_open(&s, scratch_path("d.ds"), &nothing_given, &why), OK);
    assert_string_equal(s.tokenizer, "a?\xc3\xa4??? b");
    import_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llmc),
        cmocka_unit_test(test_bad_llmc),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_raw_not_said),
        cmocka_unit_test(test_raw_wrong_width),
        cmocka_unit_test(test_raw_small_ids),
        cmocka_unit_test(test_raw_is_something_else),
        cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_token_bytes),
        cmocka_unit_test(test_datatrove),
        cmocka_unit_test(test_datatrove_alone),
        cmocka_unit_test(test_bad_datatrove),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
