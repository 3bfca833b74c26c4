/* Descriptions of memory: shapes, strides and views against indices worked out by hand. */
#include "base/tensor.h"
#include "tests/support/check.h"
#include <string.h>

static void expect_shape(const tensor *t, int rank, const int64_t *dim, const int64_t *stride)
{
    assert_int_equal(t->rank, rank);
    for (int i = 0; i < rank; i++) {
        assert_int_equal(t->dim[i], dim[i]);
        assert_int_equal(t->stride[i], stride[i]);
    }
    for (int i = rank; i < TENSOR_MAX_RANK; i++) assert_int_equal(t->dim[i], 1);
}
#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static void test_types(void **state)
{
    (void)state;
    const struct {
        dtype type;
        int bytes;
        const char *name;
    } all[] = {{F32, 4, "f32"}, {F64, 8, "f64"}, {F16, 2, "f16"}, {BF16, 2, "bf16"}, {I32, 4, "i32"}};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(dtype_bytes(all[i].type), all[i].bytes);
        assert_string_equal(dtype_name(all[i].type), all[i].name);
    }
}

static void test_contiguous(void **state)
{
    (void)state;
    float data[24];
    const tensor t = tensor_of(data, F32, "x", 3, DIMS(2, 3, 4));
    expect_shape(&t, 3, DIMS(2, 3, 4), DIMS(12, 4, 1));
    assert_ptr_equal(t.data, data);
    assert_int_equal(tensor_numel(&t), 24);
    assert_true(tensor_contiguous(&t));
    const tensor scalar = tensor_of(data, F32, "one", 1, DIMS(1));
    assert_int_equal(tensor_numel(&scalar), 1);
    /* More elements than 32 bits count: an embedding in float beyond 8 GiB. */
    const tensor large = tensor_of(NULL, F32, "large", 2, DIMS(262144, 16384));
    assert_true(tensor_numel(&large) == INT64_C(4294967296));
    const tensor last = tensor_rows(&large, 262143, 1);
    assert_null(last.data); /* measuring: no memory, no address */
}

static void test_views(void **state)
{
    (void)state;
    float data[24];
    for (int i = 0; i < 24; i++) data[i] = (float)i;
    const tensor t = tensor_of(data, F32, "x", 3, DIMS(2, 3, 4));

    const tensor columns = tensor_slice(&t, 1, 2);
    expect_shape(&columns, 3, DIMS(2, 3, 2), DIMS(12, 4, 1));
    assert_ptr_equal(columns.data, data + 1);
    assert_false(tensor_contiguous(&columns));
    assert_true(check_get(&columns, 11) == 22); /* [1,2,1] is 12 + 8 + 2 */

    const tensor rows = tensor_rows(&t, 1, 1);
    expect_shape(&rows, 3, DIMS(1, 3, 4), DIMS(12, 4, 1));
    assert_ptr_equal(rows.data, data + 12);
    assert_true(tensor_contiguous(&rows));

    const tensor flat = tensor_view(&t, 2, DIMS(6, 4));
    expect_shape(&flat, 2, DIMS(6, 4), DIMS(4, 1));

    const tensor heads = tensor_split(&t, 2);
    expect_shape(&heads, 4, DIMS(2, 3, 2, 2), DIMS(12, 4, 2, 1));
    assert_true(tensor_contiguous(&heads));
    const tensor some = tensor_split(&columns, 2); /* of strided rows */
    expect_shape(&some, 4, DIMS(2, 3, 2, 1), DIMS(12, 4, 1, 1));
    assert_false(tensor_contiguous(&some));
    assert_true(check_get(&some, 7) == 14); /* [1,0,1,0] is 12 + 1 + 1 */

    double wide[6];
    const tensor d = tensor_of(wide, F64, "wide", 2, DIMS(2, 3)), tail = tensor_slice(&d, 2, 1);
    assert_ptr_equal(tail.data, wide + 2);
    const tensor nothing = tensor_slice(&t, 4, 0);
    assert_int_equal(tensor_numel(&nothing), 0);
}

static void test_text(void **state)
{
    (void)state;
    char text[32];
    const tensor t = tensor_of(NULL, BF16, "w", 2, DIMS(2, 30)), unnamed = tensor_of(NULL, I32, NULL, 1, DIMS(7));
    assert_string_equal(tensor_text(&t, text, sizeof text), "w bf16(2,30)");
    assert_string_equal(tensor_text(&unnamed, text, sizeof text), "? i32(7)");
    /* Too little room cuts the text and writes nothing behind. */
    for (int size = 1; size < 13; size++) {
        memset(text, '#', sizeof text);
        tensor_text(&t, text, size);
        assert_int_equal(strncmp(text, "w bf16(2,30)", (size_t)size - 1), 0);
        assert_int_equal(text[size - 1], 0);
        assert_int_equal(text[size], '#');
    }
}

/* ---- wrong use stops the job --------------------------------------------------------------------------- */

static tensor six(void) { return tensor_of(NULL, F32, "six", 2, DIMS(2, 3)); }

static void make_rank_5(void *context)
{
    (void)context;
    tensor_of(NULL, F32, "five", 5, DIMS(1, 1, 1, 1, 1));
}

static void slice_too_far(void *context)
{
    (void)context;
    const tensor t = six();
    tensor_slice(&t, 2, 2);
}

static void rows_too_far(void *context)
{
    (void)context;
    const tensor t = six();
    tensor_rows(&t, 1, 2);
}

static void view_too_many(void *context)
{
    (void)context;
    const tensor t = six();
    tensor_view(&t, 1, DIMS(7));
}

static void view_strided(void *context)
{
    (void)context;
    const tensor t = six(), part = tensor_slice(&t, 0, 2);
    tensor_view(&part, 1, DIMS(4));
}

static void split_unevenly(void *context)
{
    (void)context;
    const tensor t = tensor_of(NULL, F32, "heads", 3, DIMS(1, 1, 6));
    tensor_split(&t, *(const int64_t *)context);
}

static void require_other(void *context)
{
    (void)context;
    const tensor t = six();
    REQUIRE_SHAPE(&t, F32, 2, 4);
}

static void require_type(void *context)
{
    (void)context;
    const tensor t = six();
    REQUIRE_SHAPE(&t, F64, 2, 3);
}

static void test_stops(void **state)
{
    (void)state;
    check_stops(make_rank_5, NULL, ERR_BUG, "five has rank 5");
    check_stops(slice_too_far, NULL, ERR_BUG, "six: columns 2 to 4 of 3");
    check_stops(rows_too_far, NULL, ERR_BUG, "six: rows 1 to 3 of 2");
    check_stops(view_too_many, NULL, ERR_BUG, "six: 6 elements seen as 7");
    check_stops(view_strided, NULL, ERR_BUG, "six");
    for (int64_t heads = 0; heads < 6; heads += 4)
        check_stops(split_unevenly, &heads, ERR_BUG, "heads cannot be split");
    check_stops(require_other, NULL, ERR_BUG, "require_other: six f32(2,3), expected f32(2,4)");
    check_stops(require_type, NULL, ERR_BUG, "require_type: six f32(2,3), expected f64(2,3)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types), cmocka_unit_test(test_contiguous), cmocka_unit_test(test_views),
        cmocka_unit_test(test_text),  cmocka_unit_test(test_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
