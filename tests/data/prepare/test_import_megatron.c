/* Megatron's .bin and .idx: those of megatron-core and datatrove, and indexes built here byte by byte. */
#include "tests/data/prepare/import_check.h"
#include <sys/mman.h>
#include <unistd.h>

/* An index and its tokens, as one wants them. */
typedef struct spec {
    uint64_t version, sequences, documents; /* as the header says */
    int type;
    int32_t length[4];
    int64_t place[4], document[4];
    int arrays, bounds; /* entries that are written */
    int modes;
    int64_t bin_bytes;
} spec;

/* Two documents of u16: tokens 0 and 1; then 2. */
static const spec good = {.version = 1,
                          .sequences = 3,
                          .documents = 3,
                          .type = 8,
                          .length = {1, 1, 1},
                          .place = {0, 2, 4},
                          .document = {0, 2, 3},
                          .arrays = 3,
                          .bounds = 3,
                          .bin_bytes = 6};

static int64_t put(char *out, int64_t at, const void *data, int64_t bytes)
{
    memcpy(out + at, data, (size_t)bytes);
    return at + bytes;
}

static const char *build(const spec *s)
{
    static const uint16_t ids[8] = {11, 12, 13, 14};
    char out[256] = {0};
    const unsigned char type = (unsigned char)s->type;
    int64_t at = put(out, 0, "MMIDIDX\0\0", 9);
    at = put(out, at, &s->version, 8);
    at = put(out, at, &type, 1);
    at = put(out, at, &s->sequences, 8);
    at = put(out, at, &s->documents, 8);
    at = put(out, at, s->length, 4 * s->arrays);
    at = put(out, at, s->place, 8 * s->arrays);
    at = put(out, at, s->document, 8 * s->bounds);
    scratch_write("m.idx", out, at + s->modes);
    return scratch_write("m.bin", ids, s->bin_bytes);
}

/* ---- good ones ----------------------------------------------------------------------------------------- */

static void test_originals(void **state)
{
    (void)state;
    expect_source(golden("megatron/narrow.bin"), &nothing_given, "narrow.txt", true);
    expect_source(golden("megatron/wide.bin"), &nothing_given, "wide.txt", true);
    expect_source(golden("megatron/wide64.bin"), &nothing_given, "wide.txt", true);
    expect_source(golden("megatron/datatrove.bin"), &nothing_given, "wide.txt", true);
}

static void expect_good(const spec *s, int64_t ends)
{
    static documents got;
    message why = {""};
    if (read_source(&got, build(s), &nothing_given, 100, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(got.count, 3);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(got.id[i], 11 + i);
    assert_int_equal(got.ends, ends);
}

static void test_shapes(void **state)
{
    (void)state;
    expect_good(&good, 2);
    spec s = good;
    s.modes = 3; /* of images and text mixed */
    expect_good(&s, 2);
    s = good;
    s.documents = s.bounds = 4; /* the second document is empty */
    s.document[1] = s.document[2] = 2;
    s.document[3] = 3;
    expect_good(&s, 3);
    s = good;
    s.length[0] = 2, s.length[1] = 0,
    s.place[1] = 4; /* sequences without tokens, one at the end of a document */
    expect_good(&s, 2);
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        int type;
        int64_t bytes;
        const char *raw, *refused; /* NULL: gives id 127 */
    } cases[] = {
        {1, 1, "\x7f", NULL},
        {2, 1, "\x7f", NULL},
        {3, 2, "\x7f\0", NULL},
        {4, 4, "\x7f\0\0\0", NULL},
        {5, 8, "\x7f\0\0\0\0\0\0\0", NULL},
        {8, 2, "\x7f\0", NULL},
        {2, 1, "\xff", "token 0 (byte 0) is -1, expected 0 to 16777215"},
        {3, 2, "\0\x80", "token 0 (byte 0) is -32768"},
        {4, 4, "\xfe\xff\xff\xff", "token 0 (byte 0) is -2"},
        {5, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", "token 0 (byte 0) is -1"},
        {5, 8, "\x7f\0\0\0\1\0\0\0", "token 0 (byte 0) is 4294967423"},
        {5, 8, "\0\0\0\0\0\0\0\x80", "token 0 (byte 0) is -9223372036854775808"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static documents got;
        message why = {""};
        spec s = {.version = 1,
                  .sequences = 1,
                  .documents = 2,
                  .type = cases[i].type,
                  .length = {1},
                  .document = {0, 1},
                  .arrays = 1,
                  .bounds = 2};
        build(&s);
        const char *path = scratch_write("m.bin", cases[i].raw, cases[i].bytes);
        if (cases[i].refused) {
            expect_refused(path, cases[i].refused);
            continue;
        }
        if (read_source(&got, path, &nothing_given, 10, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(got.count, 1);
        assert_int_equal(got.id[0], 127);
    }
}

/* The second sequence begins beyond 4 GiB. The file is a hole in memory with three numbers behind it: it
 * takes no space, and its zeroes are read quickly. */
static void test_large(void **state)
{
    (void)state;
#ifdef REMLA_POISON
    skip(); /* half a minute with sanitizers; test_byte_stream goes as far */
#endif
    enum { MOST = 1 << 14 };
    static uint32_t ids[MOST];
    const int64_t first = ((int64_t)1 << 29) + 5, tail[3] = {99, 98, 97};
    spec s = {.version = 1,
              .sequences = 2,
              .documents = 3,
              .type = 5,
              .length = {(int32_t)first, 3},
              .place = {0, 8 * first},
              .document = {0, 1, 2},
              .arrays = 2,
              .bounds = 3};
    char link[64];
    const char *path = build(&s);
    const int fd = memfd_create("large", 0);
    assert_true(fd >= 0 && pwrite(fd, tail, sizeof tail, 8 * first) == sizeof tail);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_true(unlink(path) == 0 && symlink(link, path) == 0);
    import_source source;
    message why = {""};
    assert_int_equal(import_open(&source, path, &nothing_given, &why), OK);
    assert_int_equal(source.tokens, first + 3);
    int64_t count, total = 0;
    bool ends = false;
    while (!ends) {
        if (import_next(&source, ids, MOST, &count, &ends, &why) != OK) fail_msg("%s", why.text);
        assert_true(count > 0 && ids[0] == 0 && ids[count - 1] == 0);
        total += count;
    }
    assert_int_equal(total, first);
    assert_int_equal(import_next(&source, ids, MOST, &count, &ends, &why), OK);
    assert_true(count == 3 && ends && ids[0] == 99 && ids[1] == 98 && ids[2] == 97);
    import_close(&source);
    close(fd);
    unlink(path);
}

/* ---- bad ones ------------------------------------------------------------------------------------------ */

static void test_bad_header(void **state)
{
    (void)state;
    spec s = good;
    build(&s);
    scratch_text("m.idx", "MMIDIDX and nothing that follows from it");
    expect_refused(scratch_path("m.bin"), "m.idx: does not begin with MMIDIDX and two zeroes");
    scratch_text("m.idx", "MMIDIDX");
    expect_refused(scratch_path("m.bin"), "m.idx: the file ends at byte 7, 27 more");
    s.version = 2;
    expect_refused(build(&s), "m.idx: is version 2, expected 1");
    s.version = 1;
    s.type = 0;
    expect_refused(build(&s), "byte 17, the type, is 0, expected 1 to 8");
    s.type = 9;
    expect_refused(build(&s), "the type, is 9");
    s.type = 255;
    expect_refused(build(&s), "the type, is 255");
    s.type = 6;
    expect_refused(build(&s), "m.idx: holds float64, not ids");
    s.type = 7;
    expect_refused(build(&s), "holds float32, not ids");
}

static void test_bad_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t sequences, documents;
    } cases[] = {
        {2, 3},
        {4, 3},
        {3, 2},
        {3, 4},
        {0, 3},
        {UINT64_MAX, 3},
        {3, UINT64_MAX},
        {UINT64_MAX, UINT64_MAX},
        {(uint64_t)1 << 62, 9},       /* 12 times that is 0, in 64 bits */
        {3, ((uint64_t)1 << 61) + 3}, /* 8 times that is 24 */
        {5, 0},                       /* 60 bytes, as there are: but no bounds */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spec s = good;
        s.sequences = cases[i].sequences;
        s.documents = cases[i].documents;
        expect_refused(build(&s), cases[i].documents ? "m.idx: has 94 bytes, which is not what"
                                                     : "m.idx: there are no document bounds");
    }
}

static void test_bad_arrays(void **state)
{
    (void)state;
    spec s = good;
    s.document[0] = 1;
    expect_refused(build(&s), "m.idx: document 0 begins at sequence 1, expected 0");
    s = good;
    s.document[1] = 4;
    expect_refused(build(&s), "document 0 ends at sequence 4, expected 0 to 3");
    s.document[1] = -1;
    expect_refused(build(&s), "document 0 ends at sequence -1, expected 0 to 3");
    s.document[1] = 2, s.document[2] = 1;
    expect_refused(build(&s), "document 1 ends at sequence 1, expected 2 to 3");
    s.document[2] = 2;
    expect_refused(build(&s), "the last document ends at sequence 2 of 3");
    s = good;
    s.length[1] = -1;
    expect_refused(build(&s), "m.idx: sequence 1 has -1 tokens");
    s.length[1] = INT32_MAX;
    expect_refused(build(&s), "sequence 1 takes 4294967294 bytes from byte 2 on|m.bin ends at 6");
    s = good;
    s.place[1] = 3;
    expect_refused(build(&s),
                   "m.idx: sequence 1 begins at byte 3 of m.bin, expected 2, where the one before");
    s.place[1] = INT64_MIN;
    expect_refused(build(&s), "sequence 1 begins at byte -9223372036854775808");
    s = good;
    s.bin_bytes = 5;
    expect_refused(build(&s), "sequence 2 takes 2 bytes from byte 4 on|m.bin ends at 5");
    s.bin_bytes = 7;
    expect_refused(build(&s), "m.bin: has 7 bytes, but its index ends at byte 6");
}

static void test_bad_names(void **state)
{
    (void)state;
    import_settings given = nothing_given;
    given.format = IMPORT_MEGATRON;
    expect_refused_as(ERR_INPUT, scratch_text("lonely.bin", "abcd"), &given, "lonely.idx: cannot be opened");
    expect_refused_as(ERR_INPUT, scratch_text("lonely.dat", "abcd"), &given,
                      "expected a name that ends with .bin");
    expect_refused_as(ERR_INPUT, scratch_text("bin", "abcd"), &given, "expected a name that ends with .bin");
    expect_refused(golden("megatron/narrow.idx"),
                   "narrow.idx: is an index of Megatron: name the .bin beside it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_originals),  cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_types),      cmocka_unit_test(test_large),
        cmocka_unit_test(test_bad_header), cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_bad_arrays), cmocka_unit_test(test_bad_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
