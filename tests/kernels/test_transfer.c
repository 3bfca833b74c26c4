/* Uploads and downloads of every combination of types, of contiguous tensors (more than one piece) and of
 * strided views. */
#include "tests/support/check.h"

/* Whole memory, two pieces and a bit; and columns 2 to 5 of heads 1 to 3 of a wider tensor. */
static tensor whole_of(dtype type) { return check_tensor(type, "whole", 2 * 65536 + 5); }
static tensor view_of(const tensor *wide) { return tensor_slice(wide, 2, 3); }

static float *host_of(int64_t n)
{
    float *host = test_malloc(sizeof(float) * (size_t)n);
    for (int64_t i = 0; i < n; i++) host[i] = (float)(i % 1000) / 8 - 3;
    return host;
}

/* What host code puts into t, rounded to its type, is in t and comes back. */
static void check_round_trip(const ops *k, tensor *t)
{
    const int64_t n = tensor_numel(t);
    float *host = host_of(n), *back = test_calloc((size_t)n, sizeof *back);
    double *wide = test_calloc((size_t)n, sizeof *wide);
    tensor want = check_copy(t, t->type);
    for (int64_t i = 0; i < n; i++) check_put(&want, i, (double)host[i]);
    k->upload(t, host, k->stream);
    check_equal("upload", t, &want);
    k->download(back, t, k->stream);
    k->download_f64(wide, t, k->stream);
    for (int64_t i = 0; i < n; i++) {
        check_number("download", (double)back[i], check_get(&want, i), 0);
        check_number("download_f64", wide[i], check_get(&want, i), 0);
    }
    test_free(host);
    test_free(back);
    test_free(wide);
}

static void test_round_trip(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < 3; j++) {
            const dtype type = (dtype[]){F32, F64, k->act}[j];
            tensor whole = whole_of(type), one = check_tensor(type, "one", 1);
            check_round_trip(k, &whole);
            check_round_trip(k, &one);

            tensor wide = check_tensor(type, "wide", 2, 3, 4, 7);
            check_fill(&wide, 1, -1, 1);
            const tensor before = check_copy(&wide, type);
            tensor view = view_of(&wide);
            check_round_trip(k, &view);
            tensor left = tensor_slice(&wide, 0, 2), right = tensor_slice(&wide, 5, 2);
            tensor left_before = tensor_slice(&before, 0, 2), right_before = tensor_slice(&before, 5, 2);
            check_equal("left of the view", &left, &left_before);
            check_equal("right of the view", &right, &right_before);
        }
}

/* More pieces than the ring between host and device has slots, whole and strided. All numbers are exact in
 * every type. */
static void test_large(void **state)
{
    (void)state;
    enum { ROWS = 1310, COLUMNS = 4001 };
    const int64_t n = (int64_t)ROWS * COLUMNS;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (!k->device) continue;
        float *host = test_malloc(sizeof *host * (size_t)n), *back = test_malloc(sizeof *back * (size_t)n);
        double *wide = test_malloc(sizeof *wide * (size_t)n);
        for (int64_t e = 0; e < n; e++) host[e] = (float)(e % 251 - 125);
        tensor t = check_tensor_of(k->act, "t", 2, (const int64_t[]){ROWS, COLUMNS + 1});
        tensor view = tensor_slice(&t, 0, COLUMNS);
        k->upload(&view, host, k->stream);
        k->download(back, &view, k->stream);
        assert_memory_equal(back, host, sizeof *host * (size_t)n);
        k->download_f64(wide, &view, k->stream);
        for (int64_t e = 0; e < n; e++) check_number("download_f64", wide[e], (double)host[e], 0);
        test_free(host);
        test_free(back);
        test_free(wide);
    }
}

/* What float cannot hold comes down whole by download_f64, and rounded by download. */
static void test_double(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        tensor t = check_tensor(F64, "t", 1);
        check_put(&t, 0, 1.0 / 3);
        double wide;
        float narrow;
        k->download_f64(&wide, &t, k->stream);
        k->download(&narrow, &t, k->stream);
        check_number("wide", wide, 1.0 / 3, 0);
        check_number("narrow", (double)narrow, (double)(1.0f / 3), 0);
    }
}

static void test_tokens(void **state)
{
    (void)state;
    const int32_t host[] = {0, -1, 2147483647, 16777217};
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        tensor t = check_tensor(I32, "tokens", 2, 2);
        k->upload_i32(&t, host, k->stream);
        for (int64_t j = 0; j < 4; j++) check_number("token", check_get(&t, j), host[j], 0);
    }
}

static void test_zero(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        tensor whole = whole_of(k->act), tokens = check_tensor(I32, "tokens", 3);
        tensor want = check_copy(&whole, k->act), no_tokens = check_copy(&tokens, I32);
        check_set(&want, 0);
        check_set(&no_tokens, 0);
        k->zero(&whole, k->stream);
        k->zero(&tokens, k->stream);
        check_equal("zero", &whole, &want);
        check_equal("zero", &tokens, &no_tokens);
    }
}

static void upload_to_tokens(void *context)
{
    const float host[2] = {0};
    ops_cpu_f32()->upload(context, host, ops_cpu_f32()->stream);
}

static void upload_to_nothing(void *context)
{
    tensor *absent = context; /* an optional weight that a model does not have */
    const float value = 1;
    ops_cpu_f32()->upload(absent, &value, ops_cpu_f32()->stream);
}
static void zero_view(void *context) { ops_cpu_f32()->zero(context, ops_cpu_f32()->stream); }

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    tensor tokens = check_tensor(I32, "tokens", 2), wide = check_tensor(F32, "wide", 2, 3);
    tensor view = tensor_slice(&wide, 0, 2);
    tensor absent = {0};
    check_stops(upload_to_nothing, &absent, ERR_BUG, "a tensor that the model does not have");
    check_stops(upload_to_tokens, &tokens, ERR_BUG, "tokens is i32, expected f32 or f64");
    check_stops(zero_view, &view, ERR_BUG, "wide is a strided view");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_round_trip), CHECK_TEST(test_large), CHECK_TEST(test_double),
        CHECK_TEST(test_tokens),     CHECK_TEST(test_zero),  CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
