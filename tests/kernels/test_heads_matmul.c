/* A matrix for each head, both ways round, against sums in double, on strided views such as MLA's halves of
 * kv_b; and, on the CPU, that a row's bits are its own. */
#include "tests/support/check.h"

typedef struct heads_case {
    int64_t N, H, K, O;
} heads_case;
static const heads_case cases[] = {{1, 1, 1, 1}, {1, 9, 64, 128}, {31, 3, 37, 75}, {8, 2, 128, 33}};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    bool transposed;
    tensor wide_weight, wide_inp, out, inp, weight;
} problem;

/* Between the weights of two heads lie two rows that belong to neither; between their inputs, 5 numbers. */
static problem problem_of(const ops *k, heads_case c, bool transposed)
{
    problem p = {.k = k, .transposed = transposed};
    const int64_t rows = transposed ? c.K : c.O, width = transposed ? c.O : c.K;
    p.wide_weight = check_tensor(k->act, "weight", c.H, rows + 2, width);
    p.weight = p.wide_weight;
    p.weight.dim[1] = rows;
    p.wide_inp = check_tensor(k->act, "inp", c.N, c.H, c.K + 5);
    p.inp = tensor_slice(&p.wide_inp, 0, c.K);
    p.out = check_tensor(k->act, "out", c.N, c.H, c.O);
    check_fill(&p.inp, 1, -2, 2);
    check_fill(&p.weight, 2, -1, 1);
    return p;
}

static void run(void *context)
{
    problem *p = context;
    p->k->heads_matmul(&p->out, &p->inp, &p->weight, p->transposed, p->k->stream);
}

static void test_plain(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < 2 * NUM_CASES; j++) {
            const heads_case c = cases[j / 2];
            problem p = problem_of(k, c, j % 2);
            const tensor inp = check_copy(&p.inp, F64), weight = check_copy(&p.weight, F64);
            const double *x = inp.data, *w = weight.data;
            tensor want = check_copy(&p.out, F64);
            for (int64_t e = 0; e < tensor_numel(&want); e++) {
                const int64_t o = e % c.O, nh = e / c.O, h = nh % c.H;
                double sum = 0;
                for (int64_t i2 = 0; i2 < c.K; i2++)
                    sum += x[nh * c.K + i2] *
                           w[p.transposed ? (h * c.K + i2) * c.O + o : (h * c.O + o) * c.K + i2];
                check_put(&want, e, sum);
            }
            run(&p);
            check_close("out", &p.out, &want, check_tolerance(k->act));
        }
}

static void test_company(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int transposed = 0; transposed < 2 && !k->device; transposed++) {
            problem p = problem_of(k, cases[2], transposed);
            const tensor *const out = &p.out;
            check_threads(run, &p, 1, &out);
            for (int64_t n = 1; n <= cases[2].N; n++) {
                const int64_t from = (n * 17) % (cases[2].N - n + 1);
                problem part = p;
                part.inp = tensor_rows(&p.inp, from, n);
                part.out = check_tensor(k->act, "out", n, cases[2].H, cases[2].O);
                run(&part);
                const tensor want = tensor_rows(&p.out, from, n);
                check_equal("rows in a call of their own", &part.out, &want);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_plain), CHECK_TEST(test_company)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
