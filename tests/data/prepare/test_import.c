/* From a source to a shard: ids and documents of every golden file come back out of what is written,
 * whichever form it has, and documents are those of the source, of the end-of-text id, or one. */
#include "tests/data/prepare/import_check.h"
#include "data/shards/dataset_json.h"
#include "data/shards/shard.h"

static shard_identity identity_of(const import_source *s)
{
    return (shard_identity){
        .token_bytes = s->token_bytes, .vocabulary = -1, .eos = s->eos, .bos = -1, .pad = -1};
}

static void write_shard(const char *from, const import_settings *settings, const char *to,
                        shard_summary *summary)
{
    import_source s;
    shard_writer *w;
    message why = {""};
    bool more = true;
    if (import_open(&s, from, settings, &why) != OK) fail_msg("%s", why.text);
    const shard_identity identity = identity_of(&s);
    assert_int_equal(shard_writer_create(&w, to, &identity, &why), OK);
    while (more)
        if (import_step(&s, w, &more, &why) != OK) fail_msg("%s", why.text);
    if (shard_writer_finish(w, summary, &why) != OK) fail_msg("%s", why.text);
    import_close(&s);
}

static void expect_shard(const char *path, const documents *want)
{
    shard s;
    message why = {""};
    static int32_t ids[MOST_IDS];
    if (shard_open(&s, path, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(s.tokens, want->count);
    assert_int_equal(s.documents, want->ends);
    assert_memory_equal(s.document_end, want->end, sizeof *want->end * (size_t)want->ends);
    assert_int_equal(shard_read(&s, 0, s.tokens, 1 << 24, ids, &why), OK);
    assert_memory_equal(ids, want->id, sizeof *ids * (size_t)s.tokens);
    shard_close(&s);
}

static void test_all_formats(void **state)
{
    (void)state;
    static const struct {
        const char *name, *want;
        import_settings settings;
    } cases[] = {
        {"datatrove/narrow.ds", "narrow.txt", {.eos = -1, .column = ""}},
        {"datatrove/wide.ds", "wide.txt", {.eos = 3, .column = ""}}, /* the source's documents are kept */
        {"megatron/narrow.bin", "narrow.txt", {.eos = -1, .column = ""}},
        {"megatron/wide64.bin", "wide.txt", {.eos = 3, .column = ""}},
        {"llmc/narrow.bin", "narrow.txt", {.eos = 7, .column = ""}},
        {"llmc/wide.bin", "wide.txt", {.eos = 7, .column = ""}},
        {"nanogpt/narrow.bin",
         "narrow.txt",
         {.format = IMPORT_NANOGPT, .token_bytes = 2, .eos = 7, .column = ""}},
        {"nanogpt/wide.bin",
         "wide.txt",
         {.format = IMPORT_NANOGPT, .token_bytes = 4, .eos = 7, .column = ""}},
        {"mds-raw", "wide.txt", {.eos = -1, .column = ""}},
        {"mds-bytes", "wide.txt", {.eos = 7, .column = "tokens"}},
        {"mds-blocks", "wide.txt", {.eos = 7, .blocks = true, .column = ""}},
    };
    static documents want;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shard_summary summary;
        read_expected(&want, cases[i].want);
        for (int form = 0; form < 2; form++) {
            const char *path = scratch_path(form ? "out.ds.zst" : "out.ds");
            write_shard(golden(cases[i].name), &cases[i].settings, path, &summary);
            expect_shard(path, &want);
            assert_int_equal(summary.tokens, want.count);
            assert_int_equal(summary.documents, want.ends);
            shard_writer_remove(path);
        }
    }
}

/* Without ends in the source and without an id for them there is one document. */
static void test_one_document(void **state)
{
    (void)state;
    static documents want;
    shard_summary summary;
    read_expected(&want, "wide.txt");
    want.end[0] = want.count;
    want.ends = 1;
    write_shard(golden("llmc/wide.bin"), &nothing_given, scratch_path("one.ds"), &summary);
    expect_shard(scratch_path("one.ds"), &want);
}

/* An end-of-text id at the beginning, twice in a row, and nothing behind the last document. */
static void test_ends_by_id(void **state)
{
    (void)state;
    static const uint16_t ids[] = {7, 1, 2, 7, 7, 3, 4};
    static const int64_t ends[] = {1, 4, 5, 7};
    const import_settings settings = {.format = IMPORT_NANOGPT, .token_bytes = 2, .eos = 7, .column = ""};
    documents *want = calloc(1, sizeof *want);
    shard_summary summary;
    assert_non_null(want);
    want->count = 7;
    for (int i = 0; i < 7; i++) want->id[i] = ids[i];
    memcpy(want->end, ends, sizeof ends);
    want->ends = 4;
    write_shard(scratch_write("ends.bin", ids, sizeof ids), &settings, scratch_path("ends.ds"), &summary);
    expect_shard(scratch_path("ends.ds"), want);
    free(want);
}

static void test_remove(void **state)
{
    (void)state;
    shard_summary summary;
    write_shard(golden("llmc/wide.bin"), &nothing_given, scratch_path("gone.ds"), &summary);
    write_shard(golden("llmc/wide.bin"), &nothing_given, scratch_path("gone.ds.zst"), &summary);
    shard_writer_remove(scratch_path("gone.ds"));
    assert_false(file_exists(scratch_path("gone.ds")));
    shard s; /* what the other one needs is there */
    message why = {""};
    assert_int_equal(shard_open(&s, scratch_path("gone.ds.zst"), &why), OK);
    shard_close(&s);
    shard_writer_remove(scratch_path("gone.ds.zst"));
    assert_false(file_exists(scratch_path("gone.ds.zst")) || file_exists(scratch_path("gone.ds.index")) ||
                 file_exists(scratch_path("gone.ds.metadata")));
}

/* What dataset.json would refuse is refused before there are shards. */
static void test_manifest_check(void **state)
{
    (void)state;
    shard_summary summary;
    message why = {""};
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", scratch_path("listed"));
    shard_identity identity = {.token_bytes = 4, .vocabulary = -1, .eos = -1, .bos = -1, .pad = -1};
    assert_int_equal(folder_make(folder, &why), OK);
    assert_int_equal(dataset_manifest_check(folder, &identity, &why), OK);
    write_shard(golden("llmc/wide.bin"), &nothing_given, scratch_path("listed/a.ds"), &summary);
    assert_int_equal(dataset_manifest_write(folder, &identity, &summary, 1, &why), OK);
    assert_int_equal(dataset_manifest_check(folder, &identity, &why), OK);
    identity.token_bytes = 2;
    assert_int_equal(dataset_manifest_check(folder, &identity, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "dataset.json: lists shards of another token size"));
    identity.token_bytes = 4;
    identity.eos = 1;
    assert_int_equal(dataset_manifest_check(folder, &identity, &why), ERR_INPUT);
    scratch_text("listed/dataset.json", "{}");
    identity.eos = -1;
    assert_int_equal(dataset_manifest_check(folder, &identity, &why), ERR_INPUT);
}

static void test_not_there(void **state)
{
    (void)state;
    char path[PATH_BYTES + 10];
    expect_refused(scratch_path("none.bin"), "none.bin: cannot be opened: No such file");
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = 0;
    expect_refused(path, "path is too long");
    expect_refused_as(ERR_USAGE, scratch_text("short", "a"), &nothing_given, "the format is not recognised");
    expect_refused_as(ERR_USAGE, scratch_text("nothing", ""), &nothing_given, "the format is not recognised");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_formats),    cmocka_unit_test(test_one_document),
        cmocka_unit_test(test_ends_by_id),     cmocka_unit_test(test_remove),
        cmocka_unit_test(test_manifest_check), cmocka_unit_test(test_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
