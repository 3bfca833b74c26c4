/* Linear layers against sums in double and against differences, with and without bias, on contiguous and
 * strided rows; rows that begin anywhere and rows of whole vectors. */
#include "tests/support/check.h"
#include <math.h>
#include <stdio.h>

typedef struct linear_case {
    int64_t N, K, O, wider; /* columns beside those of inp and out: 0 is contiguous */
} linear_case;
static const linear_case cases[] = {{1, 1, 1, 0},    {1, 5, 7, 3},      {3, 1, 2, 0},    {17, 33, 65, 0},
                                    {66, 40, 70, 5}, {70, 65, 100, 16}, {70, 64, 136, 8}};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    tensor wide_out, wide_inp, wide_dinp,
        wide_dout; /* what out, inp, dinp and dout are the first columns of */
    tensor out, inp, weight, bias, dinp, dweight, dbias, dout;
} problem;

static problem problem_of(const ops *k, linear_case c)
{
    problem p = {.k = k,
                 .wide_out = check_tensor(k->act, "out", c.N, c.O + c.wider),
                 .wide_inp = check_tensor(k->act, "inp", c.N, c.K + c.wider),
                 .wide_dinp = check_tensor(k->act, "dinp", c.N, c.K + c.wider),
                 .wide_dout = check_tensor(k->act, "dout", c.N, c.O + c.wider),
                 .weight = check_tensor(k->act, "weight", c.O, c.K),
                 .bias = check_tensor(k->act, "bias", c.O),
                 .dweight = check_tensor(k->real, "dweight", c.O, c.K),
                 .dbias = check_tensor(k->real, "dbias", c.O)};
    p.out = tensor_slice(&p.wide_out, 0, c.O);
    p.inp = tensor_slice(&p.wide_inp, 0, c.K);
    p.dinp = tensor_slice(&p.wide_dinp, 0, c.K);
    p.dout = tensor_slice(&p.wide_dout, 0, c.O);
    check_fill(&p.inp, 1, -2, 2);
    check_fill(&p.weight, 2, -1, 1);
    check_fill(&p.bias, 3, -1, 1);
    check_fill(&p.dout, 4, -1, 1);
    return p;
}

/* The NaNs beside a view are there still. */
static void check_beside(const tensor *wide, const tensor *view)
{
    const tensor beside = tensor_slice(wide, view->dim[1], wide->dim[1] - view->dim[1]);
    for (int64_t i = 0; i < tensor_numel(&beside); i++) assert_true(isnan(check_get(&beside, i)));
}

/* sum over i of a[row_a, i] * b[row_b, i], or of a[i, row_a] * b[i, row_b] where the matrices are read by
 * columns; both contiguous doubles. */
static double product(const tensor *a, bool columns_a, int64_t at_a, const tensor *b, bool columns_b,
                      int64_t at_b)
{
    const double *x = a->data, *y = b->data;
    double sum = 0;
    for (int64_t i = 0; i < a->dim[columns_a ? 0 : 1]; i++)
        sum += x[columns_a ? i * a->dim[1] + at_a : at_a * a->dim[1] + i] *
               y[columns_b ? i * b->dim[1] + at_b : at_b * b->dim[1] + i];
    return sum;
}

static void test_forward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++)
            for (int biased = 0; biased < 2; biased++) {
                problem p = problem_of(k, cases[j]);
                const tensor inp = check_copy(&p.inp, F64), weight = check_copy(&p.weight, F64);
                tensor want = check_copy(&p.out, F64);
                for (int64_t e = 0; e < tensor_numel(&want); e++)
                    check_put(&want, e,
                              product(&inp, false, e / cases[j].O, &weight, false, e % cases[j].O) +
                                  (biased ? check_get(&p.bias, e % cases[j].O) : 0));
                k->matmul_forward(&p.out, operand_of(&p.inp), operand_of(&p.weight), biased ? &p.bias : NULL,
                                  k->stream);
                check_close("out", &p.out, &want, check_tolerance(k->act));
                check_beside(&p.wide_out, &p.out);
            }
}

/* `times` the gradients, plus what was there. */
static void gradients(problem *p, double times, tensor *dinp, tensor *dweight, tensor *dbias)
{
    const int64_t N = p->inp.dim[0], K = p->inp.dim[1], O = p->weight.dim[0];
    const tensor dout = check_copy(&p->dout, F64), inp = check_copy(&p->inp, F64),
                 weight = check_copy(&p->weight, F64);
    for (int64_t e = 0; e < N * K; e++)
        check_put(dinp, e, check_get(dinp, e) + times * product(&dout, false, e / K, &weight, true, e % K));
    for (int64_t e = 0; e < O * K; e++)
        check_put(dweight, e, check_get(dweight, e) + times * product(&dout, true, e / K, &inp, true, e % K));
    for (int64_t n = 0; n < N; n++)
        for (int64_t o = 0; o < O; o++)
            check_put(dbias, o, check_get(dbias, o) + times * check_get(&dout, n * O + o));
}

static void test_backward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            /* bf16: dinp is rounded once, and once more when it is added to; gradients of weights never are.
             */
            const double tolerance = check_tolerance(k->real);
            problem p = problem_of(k, cases[j]);
            check_fill(&p.dweight, 5, -1, 1);
            check_fill(&p.dbias, 6, -1, 1);
            tensor dinp = check_copy(&p.dinp, F64), dweight = check_copy(&p.dweight, F64),
                   dbias = check_copy(&p.dbias, F64);
            for (int twice = 0; twice < 2; twice++) { /* dinp is written, dweight and dbias are added to */
                check_set(&dinp, 0);
                gradients(&p, 1, &dinp, &dweight, &dbias);
                k->matmul_backward(&p.dinp, &p.dweight, &p.dbias, operand_of(&p.dout), operand_of(&p.inp),
                                   operand_of(&p.weight), k->stream);
                check_close("dinp", &p.dinp, &dinp, check_tolerance(k->act));
                check_close("dweight", &p.dweight, &dweight, tolerance);
                check_close("dbias", &p.dbias, &dbias, tolerance);
            }
            gradients(&p, 1, &dinp, &dweight, &dbias);
            k->matmul_backward_add(&p.dinp, &p.dweight, &p.dbias, operand_of(&p.dout), operand_of(&p.inp),
                                   operand_of(&p.weight), k->stream);
            check_close("dinp added to", &p.dinp, &dinp, check_tolerance(k->act));
            check_close("dweight of three", &p.dweight, &dweight, tolerance);
            check_close("dbias of three", &p.dbias, &dbias, tolerance);
            check_beside(&p.wide_dinp, &p.dinp);
        }
}

/* Each output alone leaves the others as they are. */
static void test_not_wanted(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, cases[3]), all = problem_of(k, cases[3]);
        check_set(&all.dweight, 0);
        check_set(&all.dbias, 0);
        k->matmul_backward(&all.dinp, &all.dweight, &all.dbias, operand_of(&all.dout), operand_of(&all.inp),
                           operand_of(&all.weight), k->stream);
        k->matmul_backward(&p.dinp, NULL, NULL, operand_of(&p.dout), operand_of(&p.inp),
                           operand_of(&p.weight), k->stream);
        check_set(&p.dweight, 0);
        k->matmul_backward(NULL, &p.dweight, NULL, operand_of(&p.dout), operand_of(&p.inp),
                           operand_of(&p.weight), k->stream);
        check_set(&p.dbias, 0);
        k->matmul_backward(NULL, NULL, &p.dbias, operand_of(&p.dout), operand_of(&p.inp),
                           operand_of(&p.weight), k->stream);
        check_equal("dinp alone", &p.dinp, &all.dinp);
        check_equal("dweight alone", &p.dweight, &all.dweight);
        check_equal("dbias alone", &p.dbias, &all.dbias);
    }
}

static double loss(void *context)
{
    problem *p = context;
    p->k->matmul_forward(&p->out, operand_of(&p->inp), operand_of(&p->weight), &p->bias, p->k->stream);
    return check_dot(&p->dout, &p->out);
}

static void test_gradient(void **state)
{
    (void)state;
    for (int j = 0; j < NUM_CASES; j++) {
        problem p = problem_of(ops_cpu_f64(), cases[j]);
        check_set(&p.dweight, 0);
        check_set(&p.dbias, 0);
        p.k->matmul_backward(&p.dinp, &p.dweight, &p.dbias, operand_of(&p.dout), operand_of(&p.inp),
                             operand_of(&p.weight), p.k->stream);
        check_gradient("inp", &p.inp, &p.dinp, loss, &p);
        check_gradient("weight", &p.weight, &p.dweight, loss, &p);
        check_gradient("bias", &p.bias, &p.dbias, loss, &p);
    }
}

/* The same bits run after run, at a size that is divided over the threads. */
static void test_repeated(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, (linear_case){300, 256, 200, 0}),
                again = problem_of(k, (linear_case){300, 256, 200, 0});
        problem *const runs[] = {&p, &again};
        for (int r = 0; r < 2; r++) {
            check_set(&runs[r]->dweight, 0);
            check_set(&runs[r]->dbias, 0);
            k->matmul_forward(&runs[r]->out, operand_of(&runs[r]->inp), operand_of(&runs[r]->weight),
                              &runs[r]->bias, k->stream);
            k->matmul_backward(&runs[r]->dinp, &runs[r]->dweight, &runs[r]->dbias, operand_of(&runs[r]->dout),
                               operand_of(&runs[r]->inp), operand_of(&runs[r]->weight), k->stream);
        }
        check_equal("out again", &again.out, &p.out);
        check_equal("dinp again", &again.dinp, &p.dinp);
        check_equal("dweight again", &again.dweight, &p.dweight);
        check_equal("dbias again", &again.dbias, &p.dbias);
    }
}

static void wrong_weight(void *context)
{
    problem *p = context;
    const tensor weight = tensor_slice(&p->weight, 0, 4);
    p->k->matmul_forward(&p->out, operand_of(&p->inp), operand_of(&weight), NULL, p->k->stream);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, cases[1]);
        const char *type = dtype_name(k->act);
        char text[128];
        snprintf(text, sizeof text, ": weight %s(7,4), expected %s(7,5)", type, type);
        check_stops(wrong_weight, &p, ERR_BUG, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_forward),  CHECK_TEST(test_backward), CHECK_TEST(test_not_wanted),
        CHECK_TEST(test_gradient), CHECK_TEST(test_repeated), CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
