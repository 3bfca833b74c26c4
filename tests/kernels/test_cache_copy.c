/* Rows of a cache, copied: what is read of a copy is what is read of its row, to the bit, in every type of
 * cache; other rows stay as they are. */
#include "tests/support/check.h"

enum { ROWS = 9, N = 3 };

static void run(const ops *k, dtype type, int64_t width)
{
    cached c = {.rows = check_tensor(type, "cache", ROWS, width)};
    if (type == F8) c.scale = check_tensor(F32, "scale", ROWS);
    tensor all = check_tensor(I32, "all", ROWS), to = check_tensor(I32, "to", N),
           from = check_tensor(I32, "from", N), inp = check_tensor(k->act, "inp", ROWS, width),
           before = check_tensor(k->act, "before", ROWS, width),
           after = check_tensor(k->act, "after", ROWS, width);
    k->upload_i32(&all, (const int32_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8}, k->stream);
    k->upload_i32(&to, (const int32_t[]){8, 0, 3}, k->stream);
    k->upload_i32(&from, (const int32_t[]){2, 7, 2}, k->stream);
    check_fill(&inp, 1, -3, 3);
    k->cache_write(&c, &inp, &all, k->stream);
    k->cache_read(&before, &c, &all, k->stream);
    k->cache_copy(&c, &to, &from, k->stream);
    k->cache_read(&after, &c, &all, k->stream);
    static const int64_t want[ROWS] = {7, 1, 2, 2, 4, 5, 6, 7, 2};
    for (int64_t n = 0; n < ROWS; n++) {
        const tensor got = tensor_rows(&after, n, 1), row = tensor_rows(&before, want[n], 1);
        check_equal("row", &got, &row);
    }
}

static void test_copies(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int t = 0; t < 3; t++)
            for (int64_t width = 1; width <= 70; width += 23) run(k, (dtype[]){k->real, BF16, F8}[t], width);
}

static void beyond(void *context)
{
    (void)context;
    cached c = {.rows = check_tensor(F32, "cache", 4, 2)};
    tensor to = check_tensor(I32, "to", 1), from = check_tensor(I32, "from", 1);
    check_put(&to, 0, 1);
    check_put(&from, 0, 4);
    ops_cpu_f32()->cache_copy(&c, &to, &from, NULL);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    check_stops(beyond, NULL, ERR_BUG, "from[0] is 4 of 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_copies), CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
