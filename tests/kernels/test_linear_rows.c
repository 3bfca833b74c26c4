/* Linear layers of decoding against sums in double; and, on the CPU, that a row's bits are its own: for every
 * number of rows, in any order, on any number of threads. */
#include "tests/support/check.h"
#include <math.h>

typedef struct linear_case {
    int64_t N, K, O, wider; /* columns beside those of inp and out */
} linear_case;
static const linear_case cases[] = {{1, 1, 1, 0},   {2, 7, 3, 5},    {5, 16, 4, 0},      {70, 33, 65, 3},
                                    {9, 64, 31, 0}, {100, 40, 7, 8}, {13, 1000, 257, 0}, {0, 5, 5, 0}};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    tensor wide_out, wide_inp, out, inp, weight, bias;
} problem;

static problem problem_of(const ops *k, linear_case c)
{
    problem p = {.k = k,
                 .wide_out = check_tensor(k->act, "out", c.N, c.O + c.wider),
                 .wide_inp = check_tensor(k->act, "inp", c.N, c.K + c.wider),
                 .weight = check_tensor(k->act, "weight", c.O, c.K),
                 .bias = check_tensor(k->act, "bias", c.O)};
    p.out = tensor_slice(&p.wide_out, 0, c.O);
    p.inp = tensor_slice(&p.wide_inp, 0, c.K);
    check_fill(&p.inp, 1, -2, 2);
    check_fill(&p.weight, 2, -1, 1);
    check_fill(&p.bias, 3, -1, 1);
    return p;
}

static void run(void *context)
{
    problem *p = context;
    p->k->linear_rows(&p->out, operand_of(&p->inp), operand_of(&p->weight), &p->bias, p->k->stream);
}

static void test_plain(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++)
            for (int biased = 0; biased < 2; biased++) {
                const linear_case c = cases[j];
                problem p = problem_of(k, c);
                const tensor inp = check_copy(&p.inp, F64), weight = check_copy(&p.weight, F64);
                tensor want = check_copy(&p.out, F64);
                for (int64_t e = 0; e < c.N * c.O; e++) {
                    double sum = biased ? check_get(&p.bias, e % c.O) : 0;
                    for (int64_t i2 = 0; i2 < c.K; i2++)
                        sum += ((const double *)inp.data)[e / c.O * c.K + i2] *
                               ((const double *)weight.data)[e % c.O * c.K + i2];
                    check_put(&want, e, sum);
                }
                k->linear_rows(&p.out, operand_of(&p.inp), operand_of(&p.weight), biased ? &p.bias : NULL,
                               k->stream);
                check_close("out", &p.out, &want, check_tolerance(k->act));
                const tensor beside = tensor_slice(&p.wide_out, c.O, c.wider);
                for (int64_t e = 0; e < tensor_numel(&beside); e++) assert_true(isnan(check_get(&beside, e)));
            }
}

/* Rows from..from+count-1 in a call of their own, written between others and begun at an odd address. */
static void check_part(const problem *p, int64_t from, int64_t count)
{
    const int64_t K = p->inp.dim[1], O = p->out.dim[1];
    const tensor inp = tensor_rows(&p->inp, from, count), want = tensor_rows(&p->out, from, count);
    tensor wide_inp = check_tensor(p->k->act, "inp", count, K + 3),
           wide_out = check_tensor(p->k->act, "out", count, O + 1);
    problem part = {.k = p->k,
                    .inp = tensor_slice(&wide_inp, from % 3, K),
                    .out = tensor_slice(&wide_out, 1, O),
                    .weight = p->weight,
                    .bias = p->bias};
    for (int64_t e = 0; e < count * K; e++) check_put(&part.inp, e, check_get(&inp, e));
    run(&part);
    check_equal("rows in a call of their own", &part.out, &want);
}

static void test_company(void **state)
{
    (void)state;
    const ops *k;
    const linear_case c = {70, 83, 45, 2};
    for (int i = 0; (k = check_table(i)); i++) {
        if (k->device) continue;
        problem p = problem_of(k, c);
        run(&p);
        for (int64_t n = 1; n <= c.N; n++) check_part(&p, (n * 29) % (c.N - n + 1), n);
        /* Backwards. */
        const tensor forwards = check_copy(&p.out, k->act), inp = check_copy(&p.inp, k->act);
        for (int64_t n = 0; n < c.N; n++)
            for (int64_t e = 0; e < c.K; e++)
                check_put(&p.inp, n * c.K + e, check_get(&inp, (c.N - 1 - n) * c.K + e));
        run(&p);
        for (int64_t n = 0; n < c.N; n++) {
            const tensor got = tensor_rows(&p.out, n, 1), want = tensor_rows(&forwards, c.N - 1 - n, 1);
            check_equal("rows backwards", &got, &want);
        }
        problem large = problem_of(k, (linear_case){50, 200, 333, 1});
        const tensor *const out = &large.out;
        check_threads(run, &large, 1, &out);
        check_part(&large, 49, 1);
    }
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), cases[1]);
    p.weight = check_tensor(F32, "weight", 3, 6);
    check_stops(run, &p, ERR_BUG, "weight f32(3,6), expected f32(3,7)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_plain), CHECK_TEST(test_company),
                                       CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
