/* residual and add: a sum of two numbers is rounded once, so results must be exact, in place as well. */
#include "tests/support/check.h"

typedef void sum_of_two(tensor *out, const tensor *a, const tensor *b, stream *s);

static const int64_t sizes[][2] = {{1, 1}, {3, 5}, {7, 1201}};
enum { NUM_SIZES = sizeof sizes / sizeof *sizes };

static void check_sums(const ops *k, sum_of_two *op, dtype type)
{
    for (int j = 0; j < NUM_SIZES; j++) {
        tensor out = check_tensor(type, "out", sizes[j][0], sizes[j][1]), want = check_copy(&out, type);
        tensor a = check_copy(&out, type), b = check_copy(&out, type);
        check_fill(&a, 1, -2, 2);
        check_fill(&b, 2, -2, 2);
        for (int64_t e = 0; e < tensor_numel(&out); e++)
            check_put(&want, e, check_get(&a, e) + check_get(&b, e));
        op(&out, &a, &b, k->stream);
        check_equal("out", &out, &want);
        tensor left = check_copy(&a, type), right = check_copy(&b, type);
        op(&left, &left, &b, k->stream);
        check_equal("out is a", &left, &want);
        op(&right, &a, &right, k->stream);
        check_equal("out is b", &right, &want);
        /* Without the first row, no tensor starts at a whole vector. */
        tensor below = tensor_rows(&out, 1, sizes[j][0] - 1),
               want_below = tensor_rows(&want, 1, sizes[j][0] - 1);
        const tensor a_below = tensor_rows(&a, 1, sizes[j][0] - 1),
                     b_below = tensor_rows(&b, 1, sizes[j][0] - 1);
        check_set(&out, 0);
        op(&below, &a_below, &b_below, k->stream);
        check_equal("lower rows", &below, &want_below);
    }
}

static void test_residual(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) check_sums(k, k->residual_forward, k->act);
}

static void test_add(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        check_sums(k, k->add, k->real);
        tensor flat = check_tensor(k->real, "flat", 40001), want = check_tensor(k->real, "want", 40001);
        check_fill(&flat, 3, -1, 1);
        for (int64_t e = 0; e < tensor_numel(&flat); e++) check_put(&want, e, 2 * check_get(&flat, e));
        k->add(&flat, &flat, &flat, k->stream);
        check_equal("twice a vector", &flat, &want);
    }
}

static void wrong_shape(void *context)
{
    tensor *t = context;
    tensor fewer = tensor_rows(t, 0, 1);
    ops_cpu_f64()->residual_forward(t, t, &fewer, ops_cpu_f64()->stream);
}

static void wrong_shape_added(void *context)
{
    tensor *t = context;
    tensor fewer = tensor_rows(t, 0, 1);
    ops_cpu_f64()->add(t, &fewer, t, ops_cpu_f64()->stream);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    tensor t = check_tensor(F64, "t", 2, 3);
    check_stops(wrong_shape, &t, ERR_BUG, "residual_forward_cpu_f64: t f64(1,3), expected f64(2,3)");
    check_stops(wrong_shape_added, &t, ERR_BUG, "add_cpu_f64: t f64(1,3), expected f64(2,3)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_residual), CHECK_TEST(test_add),
                                       CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
