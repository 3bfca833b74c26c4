/* Sums against long double, sums that only double holds, equal bits with any number of threads, and bits of a
 * part that do not depend on the other parts. */
#include "tests/support/check.h"

/* One element, a bit, one block, blocks and a bit, and more blocks than are summed at a time. */
static const int64_t sizes[] = {1, 77, 4096, 3 * 4096 + 5, 1025 * 4096 + 1};
enum { NUM_SIZES = sizeof sizes / sizeof *sizes };

static void test_sums(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SIZES; j++) {
            tensor inp = check_tensor(k->real, "inp", sizes[j]), result = check_tensor(F64, "result", 1);
            check_fill(&inp, 1, -1, 2);
            long double sum = 0, squares = 0;
            for (int64_t e = 0; e < sizes[j]; e++) {
                const long double x = (long double)check_get(&inp, e);
                sum += x;
                squares += x * x;
            }
            check_set(&result, 0);
            k->sum(&result, &inp, k->stream);
            check_number("sum", check_get(&result, 0), (double)sum, 1e-13);
            k->sum(&result, &inp, k->stream);
            check_number("sum added", check_get(&result, 0), (double)(2 * sum), 1e-13);
            k->squared_norms(&result, &inp, k->stream);
            check_number("squared norm written", check_get(&result, 0), (double)squares, 1e-13);
        }
}

/* Parts of less than a block, of one, of blocks and a bit; more blocks in all than are summed at a time. */
static const int64_t part_sizes[] = {1, 16, 77, 1088, 4096, 2 * 4096 + 16};
enum { NUM_PARTS = 515, NUM_PART_SIZES = sizeof part_sizes / sizeof *part_sizes };

/* Every part against long double, and in a call of its own, whose bits are the same. */
static void check_parts(const ops *k, int64_t size)
{
    tensor inp = check_tensor(k->real, "inp", NUM_PARTS * size), all = check_tensor(F64, "all", NUM_PARTS),
           alone = check_tensor(F64, "alone", NUM_PARTS), both = check_tensor(F64, "both", 2);
    check_fill(&inp, 3, -1, 2);
    k->squared_norms(&all, &inp, k->stream);
    for (int64_t p = 0; p < NUM_PARTS; p++) {
        const tensor part = tensor_slice(&inp, p * size, size);
        tensor one = tensor_slice(&alone, p, 1);
        k->squared_norms(&one, &part, k->stream);
    }
    if (size % 16 == 0) check_equal("parts alone", &all, &alone);
    const tensor two = tensor_slice(&inp, 5 * size, 2 * size), want = tensor_slice(&all, 5, 2);
    k->squared_norms(&both, &two, k->stream);
    if (size % 16 == 0) check_equal("parts 5 and 6", &both, &want);
    for (int64_t p = 0; p < NUM_PARTS; p += p < 3 || p > NUM_PARTS - 4 ? 1 : 100) {
        long double squares = 0;
        for (int64_t e = p * size; e < (p + 1) * size; e++) {
            const long double x = (long double)check_get(&inp, e);
            squares += x * x;
        }
        check_number("part", check_get(&all, p), (double)squares, 1e-13);
    }
}

static void test_parts(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_PART_SIZES; j++) check_parts(k, part_sizes[j]);
}

/* Float would lose the ones beside 2^24, and overflow at the square of 1e30. */
static void test_range(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (k->real != F32) continue;
        tensor inp = check_tensor(F32, "inp", 3, 3), result = check_tensor(F64, "result", 1);
        check_set(&inp, 1);
        check_set(&result, 0);
        check_put(&inp, 0, 16777216);
        k->sum(&result, &inp, k->stream);
        check_number("sum", check_get(&result, 0), 16777224, 0);
        check_set(&inp, 1e30);
        check_set(&result, 0);
        k->squared_norms(&result, &inp, k->stream);
        check_number("squared norm", check_get(&result, 0), 9e60, 1e-6);
    }
}

typedef struct problem {
    const ops *k;
    tensor inp, sum, squares;
} problem;

static void both(void *context)
{
    problem *p = context;
    check_set(&p->sum, 0);
    p->k->sum(&p->sum, &p->inp, p->k->stream);
    p->k->squared_norms(&p->squares, &p->inp, p->k->stream);
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = {k, check_tensor(k->real, "inp", 100, 1000), check_tensor(F64, "sum", 1),
                     check_tensor(F64, "squares", 5)};
        check_fill(&p.inp, 2, -1, 1);
        check_threads(both, &p, 2, (const tensor *const[]){&p.sum, &p.squares});
    }
}

static void sum_to_float(void *context) { ops_cpu_f32()->sum(context, context, ops_cpu_f32()->stream); }

static void parts_of_other_sizes(void *context)
{
    tensor three = check_tensor(F64, "three", 3);
    ops_cpu_f32()->squared_norms(&three, context, ops_cpu_f32()->stream);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    tensor t = check_tensor(F32, "t", 1);
    check_stops(sum_to_float, &t, ERR_BUG, "sum_cpu_f32: t f32(1), expected f64(1)");
    check_stops(parts_of_other_sizes, &t, ERR_BUG, "t has 1 elements, no multiple of 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_sums),    CHECK_TEST(test_parts),   CHECK_TEST(test_range),
        CHECK_TEST(test_threads), CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
