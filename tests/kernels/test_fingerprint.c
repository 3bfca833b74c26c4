/* The op against the host's function (base/fingerprint.h) on the same values: all sizes, places and
 * alignments, and any number of threads. Tables whose values are the same in f32 have the same
 * fingerprints. */
#include "base/fingerprint.h"
#include "base/memory.h"
#include "tests/support/check.h"
#include <omp.h>
#include <stdlib.h>

static uint64_t read(const ops *k, const tensor *sum)
{
    uint64_t value;
    k->download_u64(&value, sum, k->stream);
    return value;
}

static uint64_t on_the_host(const ops *k, const tensor *inp, int64_t first)
{
    const int64_t n = tensor_numel(inp);
    float *x = memory_new(n, sizeof *x, "values");
    k->download(x, inp, k->stream);
    const uint64_t value = fingerprint_f32(x, n, first);
    free(x);
    return value;
}

static void check_fingerprint(const ops *k, const tensor *inp, int64_t first)
{
    tensor sums = check_tensor(U64, "sums", 3), sum = tensor_rows(&sums, 1, 1);
    const uint64_t want = on_the_host(k, inp, first);
    k->zero(&sums, k->stream);
    for (uint64_t times = 1; times <= 2; times++) {
        k->fingerprint(&sum, inp, first, k->stream);
        uint64_t got[3];
        k->download_u64(got, &sums, k->stream);
        if (got[0] || got[1] != times * want || got[2])
            fail_msg("%s, %lld elements from %lld: %016llx, expected %llu times %016llx", k->name,
                     (long long)tensor_numel(inp), (long long)first, (unsigned long long)got[1],
                     (unsigned long long)times, (unsigned long long)want);
    }
}

/* Less than a block, blocks and a bit; no element at all. */
static const int64_t sizes[] = {0, 1, 77, 4096, 3 * 4096 + 5, 100001};
static const int64_t firsts[] = {0, 7, INT64_C(1) << 40};

static void test_sizes(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++) {
                const dtype types[] = {k->act, k->real};
                for (int type = 0; type < 2; type++) {
                    tensor room = check_tensor(types[type], "inp", sizes[s] + 3);
                    check_fill(&room, 1, -1, 2);
                    const tensor inp = tensor_rows(&room, f, sizes[s]); /* at any alignment */
                    check_fingerprint(k, &inp, firsts[f]);
                }
            }
}

/* Values that every type holds. */
static void test_all_tables_agree(void **state)
{
    (void)state;
    const ops *k;
    uint64_t first = 0;
    for (int i = 0; (k = check_table(i)); i++) {
        tensor inp = check_tensor(k->act, "inp", 50, 100), sum = check_tensor(U64, "sum", 1);
        for (int64_t e = 0; e < 5000; e++) check_put(&inp, e, (double)(e % 251 - 125) / 64);
        k->zero(&sum, k->stream);
        k->fingerprint(&sum, &inp, 3, k->stream);
        if (i == 0) first = read(k, &sum);
        assert_true(read(k, &sum) == first);
    }
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k = ops_cpu_f32();
    const int before = omp_get_max_threads();
    tensor inp = check_tensor(F32, "inp", 100001);
    check_fill(&inp, 2, -1, 1);
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        check_fingerprint(k, &inp, 11);
    }
    omp_set_num_threads(before);
}

static void sum_of_doubles(void *context)
{
    ops_cpu_f32()->fingerprint(context, context, 0, ops_cpu_f32()->stream);
}

static void before_the_start(void *context)
{
    uint64_t value = 0;
    tensor sum = tensor_of(&value, U64, "sum", 1, (int64_t[]){1});
    ops_cpu_f32()->fingerprint(&sum, context, -1, ops_cpu_f32()->stream);
}

static void read_a_float(void *context)
{
    uint64_t value;
    ops_cpu_f32()->download_u64(&value, context, ops_cpu_f32()->stream);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    tensor t = check_tensor(F32, "t", 1);
    check_stops(sum_of_doubles, &t, ERR_BUG, "fingerprint_cpu_f32: t f32(1), expected u64(1)");
    check_stops(before_the_start, &t, ERR_BUG, "t begins at -1");
    check_stops(read_a_float, &t, ERR_BUG, "t is f32, expected u64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_sizes), CHECK_TEST(test_all_tables_agree),
                                       CHECK_TEST(test_threads), CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
