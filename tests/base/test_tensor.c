/* Shapes, strides and views against index arithmetic written out; and the sentences of a failed check. */
#include "tests/support/check.h"
#include <string.h>

static float data[2 * 3 * 20];

/* The element that t[i][j][k][l] is, as an index into `data`. */
static int64_t place(const tensor *t, int64_t i, int64_t j, int64_t k, int64_t l)
{
    const float *p =
        (const float *)t->data + i * t->stride[0] + j * t->stride[1] + k * t->stride[2] + l * t->stride[3];
    return p - data;
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        dtype type;
        int64_t bytes;
        const char *name;
    } rows[] = {{F32, 4, "f32"}, {F64, 8, "f64"}, {F16, 2, "f16"}, {BF16, 2, "bf16"}, {I32, 4, "i32"}, {U64, 8, "u64"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(dtype_bytes(rows[i].type), rows[i].bytes);
        assert_string_equal(dtype_name(rows[i].type), rows[i].name);
    }
}

static void test_shape(void **state)
{
    (void)state;
    char text[64], little[8];
    const tensor t = tensor_of(data, F32, "t", 3, (int64_t[]){2, 3, 20}),
                 one = tensor_of(data, I32, "one", 1, (int64_t[]){5});
    assert_int_equal(tensor_numel(&t), 120);
    assert_true(tensor_contiguous(&t));
    assert_int_equal(place(&t, 1, 2, 19, 0), 119);
    assert_int_equal(tensor_numel(&one), 5);
    assert_string_equal(tensor_text(&t, text, sizeof text), "t f32(2,3,20)");
    assert_string_equal(tensor_text(&one, text, sizeof text), "one i32(5)");
    assert_string_equal(tensor_text(&t, little, sizeof little), "t f32(2");
}

/* More elements than 32 bits count, and texts that do not fit. */
static void test_limits(void **state)
{
    (void)state;
    const tensor large = tensor_of(NULL, F32, "large", 2, (int64_t[]){262144, 16384});
    assert_true(tensor_numel(&large) == INT64_C(4294967296));
    for (int size = 1; size < 24; size++) {
        char text[32];
        memset(text, '#', sizeof text);
        tensor_text(&large, text, size);
        assert_int_equal(strncmp(text, "large f32(262144,16384)", (size_t)size - 1), 0);
        assert_int_equal(text[size - 1], 0);
        assert_int_equal(text[size], '#');
    }
}

static void test_views(void **state)
{
    (void)state;
    const tensor t = tensor_of(data, F32, "t", 3, (int64_t[]){2, 3, 20});
    const tensor rows = tensor_rows(&t, 1, 1), columns = tensor_slice(&t, 4, 12),
                 flat = tensor_view(&t, 2, (int64_t[]){6, 20}), none = tensor_slice(&t, 20, 0);
    assert_int_equal(tensor_numel(&rows), 60);
    assert_int_equal(place(&rows, 0, 1, 2, 0), 60 + 20 + 2);
    assert_true(tensor_contiguous(&rows));
    assert_int_equal(tensor_numel(&columns), 72);
    assert_int_equal(place(&columns, 1, 2, 3, 0), 60 + 40 + 4 + 3);
    assert_false(tensor_contiguous(&columns));
    assert_int_equal(place(&flat, 5, 7, 0, 0), 107);
    assert_int_equal(tensor_numel(&none), 0);
    /* A view of one row of a strided tensor has no gaps; the stride of an axis of size 1 does not count. */
    const tensor strided = tensor_slice(&flat, 0, 10), single = tensor_rows(&strided, 3, 1);
    assert_false(tensor_contiguous(&strided));
    assert_true(tensor_contiguous(&single));
    /* While arenas measure there is no memory. */
    const tensor planned = tensor_of(NULL, F32, "planned", 2, (int64_t[]){4, 4}),
                 part = tensor_rows(&planned, 2, 2);
    assert_null(part.data);
    assert_null(tensor_slice(&planned, 1, 2).data);
}

static void slice_beyond(void *context) { tensor_slice(context, 1, 20); }
static void rows_beyond(void *context) { tensor_rows(context, 2, 1); }
static void rows_before(void *context) { tensor_rows(context, -1, 1); }
static void view_of_other_size(void *context) { tensor_view(context, 1, (int64_t[]){119}); }
static void wrong_shape(void *context) { REQUIRE_SHAPE((tensor *)context, F32, 2, 3, 21); }
static void wrong_type(void *context) { REQUIRE_SHAPE((tensor *)context, F64, 2, 3, 20); }
static void wrong_rank(void *context) { REQUIRE_SHAPE((tensor *)context, F32, 2, 3); }
static void view_of_strided(void *context)
{
    const tensor columns = tensor_slice(context, 0, 10);
    tensor_view(&columns, 1, (int64_t[]){60});
}

static void test_refused(void **state)
{
    (void)state;
    tensor t = tensor_of(data, F32, "t", 3, (int64_t[]){2, 3, 20});
    check_stops(slice_beyond, &t, ERR_BUG, "t: columns 1 to 21 of 20");
    check_stops(rows_beyond, &t, ERR_BUG, "t: rows 2 to 3 of 2");
    check_stops(rows_before, &t, ERR_BUG, "t: rows -1 to 0 of 2");
    check_stops(view_of_other_size, &t, ERR_BUG, "t: 120 elements seen as 119");
    check_stops(view_of_strided, &t, ERR_BUG, "t: 60 elements seen as 60");
    check_stops(wrong_shape, &t, ERR_BUG, "wrong_shape: t f32(2,3,20), expected f32(2,3,21)");
    check_stops(wrong_type, &t, ERR_BUG, "wrong_type: t f32(2,3,20), expected f64(2,3,20)");
    check_stops(wrong_rank, &t, ERR_BUG, "wrong_rank: t f32(2,3,20), expected f32(2,3)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types), cmocka_unit_test(test_shape),
                                       cmocka_unit_test(test_limits), cmocka_unit_test(test_views),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
