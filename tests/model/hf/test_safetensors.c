/* safetensors: good files are read exactly, every kind of damage is refused with a sentence that says so,
 * halves are widened and rounded as IEEE 754 defines. The oracle for halves is arithmetic on exponent and
 * fraction. */
#include "model/hf/safetensors.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char folder[64];
static char path[PATH_BYTES], other[PATH_BYTES], index_path[PATH_BYTES];
static message why;

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/remla-safetensors-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    path_join(path, folder, "model.safetensors");
    path_join(other, folder, "b.safetensors");
    path_join(index_path, folder, "model.safetensors.index.json");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return folder_remove(folder, &why) == OK ? 0 : -1;
}

static void write_bytes(const char *to, const void *data, size_t bytes)
{
    FILE *f = fopen(to, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* A file with the given header length field, header and number of data bytes (0, 1, 2, ...). Returns its
 * size. */
static size_t write_raw(uint64_t length, const char *header, size_t data_bytes)
{
    static unsigned char file[1 << 12];
    const size_t text = strlen(header);
    assert_true(8 + text + data_bytes <= sizeof file);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)(length >> 8 * i);
    memcpy(file + 8, header, text);
    for (size_t i = 0; i < data_bytes; i++) file[8 + text + i] = (unsigned char)(i % 64);
    write_bytes(path, file, 8 + text + data_bytes);
    return 8 + text + data_bytes;
}

static size_t write_header(const char *header, size_t data_bytes)
{
    return write_raw(strlen(header), header, data_bytes);
}

static void expect_refused(const char *what, const char *words)
{
    safetensors s;
    const status got = safetensors_open(&s, folder, &why);
    if (got != ERR_INPUT) fail_msg("%s: accepted", what);
    if (!strstr(why.text, words)) fail_msg("%s: '%s' does not say '%s'", what, why.text, words);
    if (!strstr(why.text, folder)) fail_msg("%s: '%s' names no file", what, why.text);
    assert_null(s.file);
    assert_null(s.entry);
}

static void write_float_file(const char *to, const char *name, dtype type, const float *data, int64_t count)
{
    safetensors_writer w;
    safetensors_spec spec = {.type = type, .rank = 1, .dim = {count}};
    snprintf(spec.name, sizeof spec.name, "%s", name);
    assert_int_equal(safetensors_create(&w, to, &spec, 1, &why), OK);
    assert_int_equal(safetensors_append(&w, data, count, &why), OK);
    uint64_t hash;
    int64_t bytes;
    assert_int_equal(safetensors_finish(&w, &hash, &bytes, &why), OK);
    assert_int_equal(file_bytes(to), bytes);
}

/* ---- good files ---------------------------------------------------------------------------------------- */

/* Several types, an empty tensor, a scalar, names out of order, spaces after the header, parts of a
 * tensor. */
static void good_file(void **state)
{
    (void)state;
    write_header("{\"__metadata__\":{\"format\":\"pt\"},"
                 "\"z\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                 "\"a\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
                 "\"empty\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[32,32]},"
                 "\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[32,34]},"
                 "\"h\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[34,36]}}      ",
                 36);
    safetensors s;
    float x[6], y[2];
    if (safetensors_open(&s, folder, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(s.count, 5);
    assert_null(safetensors_find(&s, "__metadata__"));
    assert_null(safetensors_find(&s, "zz"));
    const safetensors_entry *z = safetensors_find(&s, "z"), *a = safetensors_find(&s, "a"),
                            *empty = safetensors_find(&s, "empty"), *scalar = safetensors_find(&s, "scalar");
    assert_true(z && a && empty && scalar && safetensors_find(&s, "h"));
    assert_int_equal(z->rank, 2);
    assert_int_equal(z->dim[1], 3);
    assert_int_equal(empty->dim[1], 7);
    assert_int_equal(scalar->rank, 0);
    assert_int_equal(safetensors_read(&s, z, 0, 6, x, &why), OK);
    assert_int_equal(safetensors_read(&s, z, 4, 2, y, &why), OK);
    assert_memory_equal(x + 4, y, sizeof y);
    const uint32_t last = 20 | 21 << 8 | 22 << 16 | 23 << 24; /* data bytes count up */
    assert_memory_equal(&x[5], &last, 4);
    assert_int_equal(safetensors_read(&s, a, 3, 1, y, &why), OK);
    const uint32_t widened = 30u << 16 | 31u << 24;
    assert_memory_equal(y, &widened, 4);
    assert_int_equal(safetensors_read(&s, empty, 0, 0, y, &why), OK);
    safetensors_close(&s);
    if (safetensors_open(&s, path, &why) != OK) fail_msg("%s", why.text); /* the file itself */
    safetensors_close(&s);
}

static void written_is_read(void **state)
{
    (void)state;
    const safetensors_spec spec[] = {
        {.name = "one", .type = F32, .rank = 2, .dim = {3, 40000}},
        {.name = "none", .type = BF16, .rank = 1, .dim = {0}},
        {.name = "two", .type = BF16, .rank = 1, .dim = {70000}},
        {.name = "three", .type = F16, .rank = 4, .dim = {2, 1, 5, 7}},
    };
    static float data[120000], back[120000];
    for (int i = 0; i < 120000; i++) data[i] = (float)(i % 256 - 128) / 64;
    safetensors_writer w;
    uint64_t hash, again;
    int64_t bytes;
    assert_int_equal(safetensors_create(&w, path, spec, 4, &why), OK);
    assert_int_equal(safetensors_append(&w, data, 50000, &why), OK);
    assert_int_equal(safetensors_append(&w, data + 50000, 70000, &why), OK);
    assert_int_equal(safetensors_append(&w, data, 70000, &why), OK);
    assert_int_equal(safetensors_append(&w, data, 70, &why), OK);
    assert_int_equal(safetensors_finish(&w, &hash, &bytes, &why), OK);
    assert_int_equal(file_hash(path, &again, &bytes, &why), OK);
    assert_int_equal(hash, again);
    safetensors s;
    if (safetensors_open(&s, path, &why) != OK) fail_msg("%s", why.text);
    for (int i = 0; i < 4; i++) {
        const safetensors_entry *e = safetensors_find(&s, spec[i].name);
        assert_non_null(e);
        assert_true(e->type == spec[i].type && e->rank == spec[i].rank);
        int64_t count = 1;
        for (int axis = 0; axis < e->rank; axis++) {
            assert_int_equal(e->dim[axis], spec[i].dim[axis]);
            count *= e->dim[axis];
        }
        assert_int_equal(e->begin % 4, 0);
        assert_int_equal(safetensors_read(&s, e, 0, count, back, &why), OK);
        assert_memory_equal(back, data, sizeof(float) * (size_t)count);
    }
    safetensors_close(&s);
}

/* ---- halves -------------------------------------------------------------------------------------------- */

/* The value of a half with `fraction` bits after the point, from its definition. */
static double half_value(unsigned bits, int exponent_bits, int fraction_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1,
              exponent = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    const double fraction = bits & ((1u << fraction_bits) - 1), sign = bits >> 15 ? -1 : 1;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + ldexp(1, fraction_bits), exponent - bias - fraction_bits);
}

static void check_widened(const char *text, int exponent_bits, int fraction_bits)
{
    const unsigned infinite = ((1u << exponent_bits) - 1) << fraction_bits, count = 2 * infinite;
    static unsigned char file[8 + 128 + 2 * 65536];
    char header[129];
    const int used =
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[%u],\"data_offsets\":[0,%u]}}",
                 text, count, 2 * count);
    memset(header + used, ' ', 128 - (size_t)used);
    memset(file, 0, 8);
    file[0] = 128;
    memcpy(file + 8, header, 128);
    static unsigned half[65536];
    for (unsigned i = 0; i < count; i++) {
        half[i] = i < infinite ? i : 0x8000 + i - infinite;
        file[136 + 2 * i] = (unsigned char)(half[i] & 255);
        file[137 + 2 * i] = (unsigned char)(half[i] >> 8);
    }
    write_bytes(path, file, 136 + 2 * count);

    static float got[65536];
    safetensors s;
    if (safetensors_open(&s, path, &why) != OK) fail_msg("%s", why.text);
    if (safetensors_read(&s, s.entry, 0, count, got, &why) != OK) fail_msg("%s", why.text);
    for (unsigned i = 0; i < count; i++) {
        const double want = half_value(half[i], exponent_bits, fraction_bits);
        if (!((double)got[i] == want) || !signbit(got[i]) != !signbit(want))
            fail_msg("%s 0x%04x is %g, expected %g", text, half[i], (double)got[i], want);
    }
    safetensors_close(&s);
}

static void halves_are_widened_exactly(void **state)
{
    (void)state;
    check_widened("F16", 5, 10);
    check_widened("BF16", 8, 7);
}

static void read_back(float *out, int64_t count)
{
    safetensors s;
    if (safetensors_open(&s, path, &why) != OK) fail_msg("%s", why.text);
    if (safetensors_read(&s, s.entry, 0, count, out, &why) != OK) fail_msg("%s", why.text);
    safetensors_close(&s);
}

/* Between every two neighbouring halves: the middle goes to the even one, its neighbours in float to the
 * nearer one. */
static void check_rounded(dtype type, int exponent_bits, int fraction_bits)
{
    static float in[4 * 65536], want[4 * 65536], got[4 * 65536];
    const unsigned infinite = ((1u << exponent_bits) - 1) << fraction_bits;
    int64_t n = 0;
    for (unsigned bits = 0; bits + 1 < infinite; bits++) {
        const float low = (float)half_value(bits, exponent_bits, fraction_bits),
                    high = (float)half_value(bits + 1, exponent_bits, fraction_bits);
        const float middle = (float)(((double)low + (double)high) / 2), sign = bits % 3 ? 1 : -1;
        const float inputs[] = {low, nextafterf(middle, 0), middle, nextafterf(middle, HUGE_VALF)};
        const float outputs[] = {low, low, bits % 2 ? high : low, high};
        for (int i = 0; i < 4; i++, n++) in[n] = sign * inputs[i], want[n] = sign * outputs[i];
    }
    write_float_file(path, "x", type, in, n);
    read_back(got, n);
    for (int64_t i = 0; i < n; i++)
        if (!(got[i] == want[i]))
            fail_msg("%s: %.9g is rounded to %.9g, expected %.9g", dtype_name(type), (double)in[i],
                     (double)got[i], (double)want[i]);
}

static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    check_rounded(F16, 5, 10);
    check_rounded(BF16, 8, 7);
}

static void refuse_value(dtype type, float value, const char *words)
{
    const float data[] = {1, 2, value, 4};
    const safetensors_spec spec = {.name = "the.weight", .type = type, .rank = 1, .dim = {5}};
    safetensors_writer w;
    assert_int_equal(safetensors_create(&w, path, &spec, 1, &why), OK);
    assert_int_equal(safetensors_append(&w, data, 1, &why), OK);
    assert_int_equal(safetensors_append(&w, data, 4, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "the.weight"));
    assert_non_null(strstr(why.text, "element 3"));
    if (!strstr(why.text, words)) fail_msg("'%s' does not say '%s'", why.text, words);
    assert_false(file_exists(path));
}

static void what_cannot_be_stored_is_refused(void **state)
{
    (void)state;
    refuse_value(F16, 65520, "65520"); /* the middle between the largest half and the next power of two */
    refuse_value(F16, -1e6f, "-1e+06");
    refuse_value(BF16, 3.4e38f, "3.4e+38");
    refuse_value(BF16, NAN, "nan");
    refuse_value(F32, NAN, "nan");
    refuse_value(F32, -HUGE_VALF, "-inf");
    const float fits = 65519;
    write_float_file(path, "x", F16, &fits, 1);
    float back;
    read_back(&back, 1);
    assert_true(back == 65504);
}

static void infinities_are_not_read(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int size;
        unsigned char last[4];
    } cases[] = {
        {"F32", 4, {0, 0, 0x80, 0x7f}}, {"F32", 4, {1, 0, 0x80, 0xff}}, {"F16", 2, {0, 0x7c}},
        {"F16", 2, {0, 0xfe}},          {"BF16", 2, {0x80, 0x7f}},      {"BF16", 2, {0xc0, 0xff}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[128];
        unsigned char file[8 + 128 + 400] = {128};
        const int used =
            snprintf(header, sizeof header,
                     "{\"bad.weight\":{\"dtype\":\"%s\",\"shape\":[100],\"data_offsets\":[0,%d]}}",
                     cases[i].type, 100 * cases[i].size);
        memset(file + 8, ' ', 128);
        memcpy(file + 8, header, (size_t)used);
        memcpy(file + 136 + 77 * cases[i].size, cases[i].last, (size_t)cases[i].size);
        write_bytes(path, file, (size_t)(136 + 100 * cases[i].size));
        safetensors s;
        float x[100];
        if (safetensors_open(&s, path, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(safetensors_read(&s, s.entry, 0, 77, x, &why), OK);
        assert_int_equal(safetensors_read(&s, s.entry, 50, 50, x, &why), ERR_INPUT);
        assert_non_null(strstr(why.text, "bad.weight"));
        assert_non_null(strstr(why.text, "element 77"));
        safetensors_close(&s);
    }
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static void damaged_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *words;
    } cases[] = {
        {"", 0, "broken JSON"},
        {"{", 0, "broken JSON"},
        {"[]", 0, "not an object"},
        {"{} x", 0, "broken JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":"
         "[1],\"data_offsets\":[4,8]}}",
         8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "duplicate"},
        {"{\"a\":3}", 0, "exactly dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "exactly dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
         "exactly dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is not a string"},
        {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "'a' has dtype I64"},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "'a' has dtype F8_E4M3"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "shape is not a list"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "at most 8 sizes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "size 0 of its shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "size 0 of its shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,281474976710656],\"data_offsets\":[0,4]}}", 4,
         "size 1 of its shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[36893488147419103233],\"data_offsets\":[0,4]}}", 4,
         "broken JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,0]}}", 0,
         "absurdly large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[140737488355328,32768],\"data_offsets\":[0,0]}}", 0,
         "absurdly large"}, /* only the product with 4 bytes wraps */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "pair of whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, "pair of whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "pair of whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "lies at 4 to 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
         "lies at 0 to 8, but the file holds 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
         "needs 8 bytes, its data_offsets give 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
         "needs 4 bytes, its data_offsets give 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "overlap or leave a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":"
         "[1],\"data_offsets\":[8,12]}}",
         12, "overlap or leave a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":"
         "[1],\"data_offsets\":[4,8]}}",
         8, "overlap or leave a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":"
         "[1],\"data_offsets\":[0,4]}}",
         4, "overlap or leave a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "but the file has"},
        {"{}", 1, "but the file has"},
        {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name has 0 bytes"},
        {"{\"a\\u0007\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "control character"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "broken JSON"},
        {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "broken JSON"},
        {"{\"__metadata__\":[],\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"k\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "'k' is not a string"},
        {"{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", 4, "nested too deeply"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_header(cases[i].header, cases[i].data_bytes);
        expect_refused(cases[i].header, cases[i].words);
    }
}

static void absurd_lengths(void **state)
{
    (void)state;
    const char *const header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    write_raw(UINT64_MAX, header, 4);
    expect_refused("all bits set", "at most 100000000");
    write_raw(UINT64_C(1) << 63, header, 4);
    expect_refused("2^63", "at most 100000000");
    write_raw(100000001, header, 4);
    expect_refused("one too many", "at most 100000000");
    write_raw(100000000, header, 4);
    expect_refused("longer than the file", "the file is truncated");
    write_raw(strlen(header) + 5, header, 4);
    expect_refused("one byte longer than the file", "the file is truncated");
    write_bytes(path, "", 0);
    expect_refused("empty file", "too few");
    remove(path);
    expect_refused("nothing there", "neither model.safetensors nor");

    char *long_name = malloc(2000);
    assert_non_null(long_name);
    snprintf(long_name, 2000, "{\"%01025d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 7);
    write_header(long_name, 4);
    expect_refused("name of 1025 bytes", "name has 1025 bytes");
    free(long_name);
}

static size_t small_file(unsigned char *file)
{
    const size_t size = write_header("{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\","
                                     "\"shape\":[2],\"data_offsets\":[0,8]},"
                                     "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[8,14]}} ",
                                     14);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(file, 1, 512, f), size);
    fclose(f);
    safetensors s;
    if (safetensors_open(&s, folder, &why) != OK) fail_msg("%s", why.text);
    safetensors_close(&s);
    return size;
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    unsigned char file[512];
    const size_t size = small_file(file);
    for (size_t cut = 0; cut < size; cut++) {
        write_bytes(path, file, cut);
        char what[64];
        snprintf(what, sizeof what, "cut at byte %zu", cut);
        expect_refused(what, "model.safetensors");
    }
}

/* What is still accepted can be read: places and sizes cannot lead out of the file. */
static void no_mutation_does_harm(void **state)
{
    (void)state;
    unsigned char file[512];
    const size_t size = small_file(file);
    static const unsigned char masks[] = {0x01, 0x02, 0x10, 0x20, 0x80};
    for (size_t i = 0; i < size; i++)
        for (size_t m = 0; m < sizeof masks; m++) {
            file[i] ^= masks[m];
            write_bytes(path, file, size);
            safetensors s;
            if (safetensors_open(&s, folder, &why) == OK) {
                for (int e = 0; e < s.count; e++) {
                    float x[16];
                    assert_true(s.entry[e].bytes <= 14);
                    (void)safetensors_read(&s, &s.entry[e], 0,
                                           s.entry[e].bytes / dtype_bytes(s.entry[e].type), x, &why);
                }
                safetensors_close(&s);
            }
            file[i] ^= masks[m];
        }
}

/* ---- sets of files ------------------------------------------------------------------------------------- */

static void write_text(const char *to, const char *text) { write_bytes(to, text, strlen(text)); }

static void damaged_sets(void **state)
{
    (void)state;
    const float x[] = {1, 2, 3};
    char first[PATH_BYTES];
    remove(path);
    write_float_file(path_join(first, folder, "a.safetensors"), "x", F32, x, 3);
    write_float_file(other, "y", F32, x, 2);
    static const struct {
        const char *index, *words; /* NULL: good */
    } cases[] = {
        {"{\"metadata\":{\"total_size\":20},\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}"
         "}",
         NULL},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}", NULL},
        {"{\"metadata\":{\"total_size\":24},\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}"
         "}",
         "total_size is 24, but the tensors have 20"},
        {"{\"metadata\":3,\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}",
         "metadata is not an object"},
        {"{\"metadata\":{}}", "weight_map is missing"},
        {"{\"weight_map\":{}}", "weight_map is missing"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\"", "broken JSON"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"x\":\"a.safetensors\"}}", "duplicate"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"../b.safetensors\"}}",
         "'y' is not a plain file name"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"/etc/passwd\"}}", "'y' is not a plain file name"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"..\"}}", "'y' is not a plain file name"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"\"}}", "'y' is not a plain file name"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":2}}", "'y' is not a plain file name"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"c.safetensors\"}}",
         "c.safetensors: cannot be opened"},
        {"{\"weight_map\":{\"x\":\"b.safetensors\",\"y\":\"a.safetensors\"}}",
         "'x' is in a.safetensors, but the weight_map says b.safetensors"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"z\":\"b.safetensors\"}}",
         "'y' of b.safetensors is not in the weight_map"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\",\"z\":\"b.safetensors\"}}",
         "'z' is not in b.safetensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_text(index_path, cases[i].index);
        if (cases[i].words) {
            expect_refused(cases[i].index, cases[i].words);
            continue;
        }
        safetensors s;
        if (safetensors_open(&s, folder, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(s.num_files, 2);
        float y[2];
        assert_int_equal(safetensors_read(&s, safetensors_find(&s, "y"), 0, 2, y, &why), OK);
        assert_memory_equal(y, x, sizeof y);
        safetensors_close(&s);
    }
    write_text(index_path, cases[0].index);
    write_float_file(other, "x", F32, x, 2);
    expect_refused("a tensor in two files", "tensor 'x' is in");
    write_float_file(path, "x", F32, x, 3);
    expect_refused("both kinds", "both model.safetensors and model.safetensors.index.json");
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(good_file),
        IN_FOLDER(written_is_read),
        IN_FOLDER(halves_are_widened_exactly),
        IN_FOLDER(rounding_is_to_nearest_even),
        IN_FOLDER(what_cannot_be_stored_is_refused),
        IN_FOLDER(infinities_are_not_read),
        IN_FOLDER(damaged_headers),
        IN_FOLDER(absurd_lengths),
        IN_FOLDER(every_truncation_is_refused),
        IN_FOLDER(no_mutation_does_harm),
        IN_FOLDER(damaged_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
