/* Copies are exact. Backward is compared with a loop over rows in double: many rows share few tokens. */
#include "tests/support/check.h"
#include <math.h>

typedef struct embedding_case {
    int64_t N, V, C;
} embedding_case;
/* The last two: rows of whole vectors; more rows than a warp reads at a time, more columns than a block has.
 */
static const embedding_case cases[] = {{1, 1, 1}, {9, 4, 3}, {50, 11, 131}, {300, 7, 64}, {5, 3, 1032}};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    tensor out, tokens, weight, dweight, dout;
} problem;

static problem problem_of(const ops *k, embedding_case c)
{
    problem p = {.k = k,
                 .out = check_tensor(k->act, "out", c.N, c.C),
                 .tokens = check_tensor(I32, "tokens", c.N),
                 .weight = check_tensor(k->act, "weight", c.V, c.C),
                 .dweight = check_tensor(k->real, "dweight", c.V, c.C),
                 .dout = check_tensor(k->act, "dout", c.N, c.C)};
    check_fill(&p.tokens, 1, 0, (double)c.V);
    check_fill(&p.weight, 2, -1, 1);
    check_fill(&p.dout, 3, -1, 1);
    return p;
}

static void test_forward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            problem p = problem_of(k, cases[j]);
            k->embedding_forward(&p.out, &p.tokens, &p.weight, k->stream);
            for (int64_t n = 0; n < cases[j].N; n++) {
                const tensor got = tensor_rows(&p.out, n, 1);
                const tensor want = tensor_rows(&p.weight, (int64_t)check_get(&p.tokens, n), 1);
                check_equal("row", &got, &want);
            }
        }
}

static void test_backward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            const int64_t C = cases[j].C;
            problem p = problem_of(k, cases[j]);
            check_fill(&p.dweight, 4, -1, 1);
            tensor want = check_copy(&p.dweight, F64);
            for (int twice = 0; twice < 2; twice++) {
                for (int64_t e = 0; e < tensor_numel(&p.dout); e++) {
                    const int64_t at = (int64_t)check_get(&p.tokens, e / C) * C + e % C;
                    check_put(&want, at, check_get(&want, at) + check_get(&p.dout, e));
                }
                k->embedding_backward(&p.dweight, &p.dout, &p.tokens, k->stream);
                check_close("dweight", &p.dweight, &want, check_tolerance(k->real));
            }
        }
}

static double loss(void *context)
{
    problem *p = context;
    p->k->embedding_forward(&p->out, &p->tokens, &p->weight, p->k->stream);
    return check_dot(&p->dout, &p->out);
}

static void test_gradient(void **state)
{
    (void)state;
    problem p = problem_of(ops_cpu_f64(), cases[1]);
    check_set(&p.dweight, 0);
    p.k->embedding_backward(&p.dweight, &p.dout, &p.tokens, p.k->stream);
    check_gradient("weight", &p.weight, &p.dweight, loss, &p);
}

static void backward_from_zero(void *context)
{
    problem *p = context;
    check_set(&p->dweight, 0);
    p->k->embedding_backward(&p->dweight, &p->dout, &p->tokens, p->k->stream);
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, cases[2]);
        check_threads(backward_from_zero, &p, 1, (const tensor *const[]){&p.dweight});
    }
}

/* A device cannot stop the job: a token that there is not gives a row of NaN, and no gradient. */
static void test_unknown_token(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (!k->device) continue;
        problem p = problem_of(k, cases[1]);
        check_set(&p.dweight, 1);
        check_set(&p.tokens, (double)p.weight.dim[0]);
        check_put(&p.tokens, 0, -1);
        check_put(&p.tokens, 5, 2);
        k->embedding_forward(&p.out, &p.tokens, &p.weight, k->stream);
        k->embedding_backward(&p.dweight, &p.dout, &p.tokens, k->stream);
        for (int64_t e = 0; e < tensor_numel(&p.out); e++)
            assert_int_equal(isnan(check_get(&p.out, e)), e / p.out.dim[1] != 5);
        for (int64_t e = 0; e < tensor_numel(&p.dweight); e++)
            if (e / p.out.dim[1] != 2) check_number("dweight", check_get(&p.dweight, e), 1, 0);
    }
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), cases[1]);
    check_put(&p.tokens, 5, 4);
    check_stops(backward_from_zero, &p, ERR_BUG, "token 4 at row 5, expected 0 to 3");
    check_put(&p.tokens, 5, -1);
    check_stops(backward_from_zero, &p, ERR_BUG, "token -1 at row 5, expected 0 to 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_forward), CHECK_TEST(test_backward),      CHECK_TEST(test_gradient),
        CHECK_TEST(test_threads), CHECK_TEST(test_unknown_token), CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
