/* Forward and backward against the formulas in double, on contiguous tensors and on the first columns of
 * wider ones, and backward against differences. */
#include "tests/support/check.h"
#include <math.h>

typedef struct norm_case {
    int64_t N, C, wider; /* columns beside the C that are normed: 0 is contiguous */
    double eps;
} norm_case;
/* One element (with a large eps: its gradient would be next to nothing otherwise); odd sizes; more columns
 * than a slice and more rows than a stretch; latents beside a rotary key. Then what a GPU cares for: whole
 * vectors, whole vectors in rows that are not, more columns than a warp takes, more rows than it has blocks,
 * and both at once: a block then adds up one row after the other. */
static const norm_case cases[] = {{1, 1, 0, 0.5},     {3, 7, 0, 1e-5},     {300, 70, 0, 1e-5},
                                  {5, 576, 0, 1e-5},  {4, 33, 5, 1e-6},    {20, 64, 32, 1e-6},
                                  {4, 64, 5, 1e-6},   {3, 1032, 0, 1e-5},  {3, 1027, 0, 1e-5},
                                  {4104, 8, 0, 1e-5}, {514, 1032, 0, 1e-5}};
enum { NUM_CASES = sizeof cases / sizeof *cases };
enum { NUM_SHORT = NUM_CASES - 2 /* the last two have many rows */, NUM_FOR_DIFFERENCES = 5 /* the first */ };

typedef struct problem {
    const ops *k;
    double eps;
    tensor wide_out, wide_inp, wide_dinp; /* what out, inp and dinp are the first columns of */
    tensor out, rstd, inp, weight, dinp, dweight, dout;
} problem;

static problem problem_of(const ops *k, norm_case c)
{
    problem p = {.k = k,
                 .eps = c.eps,
                 .wide_out = check_tensor(k->act, "out", c.N, c.C + c.wider),
                 .wide_inp = check_tensor(k->act, "inp", c.N, c.C + c.wider),
                 .wide_dinp = check_tensor(k->act, "dinp", c.N, c.C + c.wider),
                 .rstd = check_tensor(k->real, "rstd", c.N),
                 .weight = check_tensor(k->act, "weight", c.C),
                 .dweight = check_tensor(k->real, "dweight", c.C),
                 .dout = check_tensor(k->act, "dout", c.N, c.C)};
    p.out = tensor_slice(&p.wide_out, 0, c.C);
    p.inp = tensor_slice(&p.wide_inp, 0, c.C);
    p.dinp = tensor_slice(&p.wide_dinp, 0, c.C);
    check_fill(&p.inp, 1, -2, 2);
    check_fill(&p.weight, 2, 0.5, 1.5);
    check_fill(&p.dout, 3, -1, 1);
    return p;
}

/* NaN was there before and must be there still: nobody wrote beside the view. */
static void check_beside(const tensor *wide, const tensor *view)
{
    const int64_t C = view->dim[1];
    const tensor beside = tensor_slice(wide, C, wide->dim[1] - C);
    for (int64_t i = 0; i < tensor_numel(&beside); i++) assert_true(isnan(check_get(&beside, i)));
}

/* The two formulas of ops.def, an element at a time. `dinp` and `dweight` are added to. */
static void formulas(problem *p, tensor *out, tensor *rstd, tensor *dinp, tensor *dweight)
{
    const int64_t N = p->inp.dim[0], C = p->inp.dim[1];
    for (int64_t n = 0; n < N; n++) {
        double squares = 0, mean = 0;
        for (int64_t c = 0; c < C; c++) squares += pow(check_get(&p->inp, n * C + c), 2);
        const double r = 1 / sqrt(squares / (double)C + p->eps);
        check_put(rstd, n, r);
        for (int64_t c = 0; c < C; c++)
            mean += check_get(&p->dout, n * C + c) * check_get(&p->weight, c) *
                    check_get(&p->inp, n * C + c) * r / (double)C;
        for (int64_t c = 0; c < C; c++) {
            const int64_t i = n * C + c;
            const double y = check_get(&p->inp, i) * r, w = check_get(&p->weight, c),
                         d = check_get(&p->dout, i);
            check_put(out, i, y * w);
            check_put(dinp, i, check_get(dinp, i) + r * (d * w - y * mean));
            check_put(dweight, c, check_get(dweight, c) + d * y);
        }
    }
}

static void test_formulas(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            problem p = problem_of(k, cases[j]);
            const double tolerance = check_tolerance(k->act), sum_tolerance = check_tolerance(k->real);
            tensor out = check_copy(&p.out, F64), rstd = check_copy(&p.rstd, F64),
                   dinp = check_copy(&p.dinp, F64);
            tensor dweight = check_copy(&p.dweight, F64);
            check_set(&dinp, 0);
            check_set(&dweight, 0);
            formulas(&p, &out, &rstd, &dinp, &dweight);

            k->rmsnorm_forward(&p.out, &p.rstd, &p.inp, &p.weight, p.eps, k->stream);
            check_close("out", &p.out, &out, tolerance);
            check_close("rstd", &p.rstd, &rstd, sum_tolerance);
            check_beside(&p.wide_out, &p.out);

            check_set(&p.dweight, 0);
            k->rmsnorm_backward(&p.dinp, &p.dweight, &p.dout, &p.inp, &p.weight, &p.rstd, k->stream);
            check_close("dinp", &p.dinp, &dinp, tolerance);
            check_close("dweight", &p.dweight, &dweight, sum_tolerance);
            check_beside(&p.wide_dinp, &p.dinp);
        }
}

/* Again: dinp is written anew, dweight added to; _add adds to both. */
static void test_adding(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SHORT; j++) {
            problem p = problem_of(k, cases[j]);
            /* bf16: what is added was rounded in `want` and is not here. */
            const double tolerance = 2 * check_tolerance(k->act), sum_tolerance = check_tolerance(k->real);
            k->rmsnorm_forward(&p.out, &p.rstd, &p.inp, &p.weight, p.eps, k->stream);
            check_set(&p.dweight, 0);
            k->rmsnorm_backward(&p.dinp, &p.dweight, &p.dout, &p.inp, &p.weight, &p.rstd, k->stream);
            const tensor dinp = check_copy(&p.dinp, k->act), dweight = check_copy(&p.dweight, k->real);
            tensor want = check_copy(&dinp, F64), want_weight = check_copy(&dweight, F64);

            k->rmsnorm_backward(&p.dinp, &p.dweight, &p.dout, &p.inp, &p.weight, &p.rstd, k->stream);
            check_equal("dinp written again", &p.dinp, &dinp);
            for (int64_t c = 0; c < cases[j].C; c++) check_put(&want_weight, c, 2 * check_get(&dweight, c));
            check_close("dweight of two", &p.dweight, &want_weight, sum_tolerance);

            check_fill(&p.dinp, 4, -1, 1);
            for (int64_t e = 0; e < tensor_numel(&want); e++)
                check_put(&want, e, check_get(&p.dinp, e) + check_get(&dinp, e));
            for (int64_t c = 0; c < cases[j].C; c++) check_put(&want_weight, c, 3 * check_get(&dweight, c));
            k->rmsnorm_backward_add(&p.dinp, &p.dweight, &p.dout, &p.inp, &p.weight, &p.rstd, k->stream);
            check_close("dinp added to", &p.dinp, &want, tolerance);
            check_close("dweight of three", &p.dweight, &want_weight, sum_tolerance);
            check_beside(&p.wide_dinp, &p.dinp);
        }
}

static double loss(void *context)
{
    problem *p = context;
    p->k->rmsnorm_forward(&p->out, &p->rstd, &p->inp, &p->weight, p->eps, p->k->stream);
    return check_dot(&p->dout, &p->out);
}

static void test_gradient(void **state)
{
    (void)state;
    for (int j = 0; j < NUM_FOR_DIFFERENCES; j++) {
        problem p = problem_of(ops_cpu_f64(), cases[j]);
        check_set(&p.dweight, 0);
        loss(&p);
        p.k->rmsnorm_backward(&p.dinp, &p.dweight, &p.dout, &p.inp, &p.weight, &p.rstd, p.k->stream);
        check_gradient("inp", &p.inp, &p.dinp, loss, &p);
        check_gradient("weight", &p.weight, &p.dweight, loss, &p);
    }
}

static void forward_and_backward(void *context)
{
    problem *p = context;
    p->k->rmsnorm_forward(&p->out, &p->rstd, &p->inp, &p->weight, p->eps, p->k->stream);
    check_set(&p->dweight, 0);
    p->k->rmsnorm_backward(&p->dinp, &p->dweight, &p->dout, &p->inp, &p->weight, &p->rstd, p->k->stream);
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SHORT; j++) {
            problem p = problem_of(k, cases[j]);
            check_threads(forward_and_backward, &p, 4,
                          (const tensor *const[]){&p.out, &p.rstd, &p.dinp, &p.dweight});
        }
}

static void wrong_weight(void *context)
{
    problem *p = context;
    const tensor weight = tensor_rows(&p->weight, 0, 6);
    p->k->rmsnorm_forward(&p->out, &p->rstd, &p->inp, &weight, p->eps, p->k->stream);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), cases[1]);
    check_stops(wrong_weight, &p, ERR_BUG, "rmsnorm_forward_cpu_f32: weight f32(6), expected f32(7)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_formulas), CHECK_TEST(test_adding),  CHECK_TEST(test_gradient),
        CHECK_TEST(test_threads),  CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
