/* Head and loss against the formula in double and against differences: chunks that divide the rows and that
 * do not, rows that are not counted, rows longer than what a block of threads takes at a time, logits far
 * apart. */
#include "tests/support/check.h"
#include <math.h>
#include <stdlib.h>

typedef struct head_case {
    int64_t N, C, V, rows; /* rows: of scratch */
} head_case;
static const head_case cases[] = {
    {1, 1, 2, 1},       {7, 3, 5, 3},     {11, 16, 37, 11}, {9, 8, 2500, 20},
    {40, 12, 1025, 16}, {3, 2, 20000, 2}, {2, 2, 20001, 2},
};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    tensor loss, hidden, weight, targets, scratch, dhidden, dweight;
} problem;

/* Every fourth row is not counted. */
static problem problem_of(const ops *k, head_case c)
{
    problem p = {.k = k,
                 .loss = check_tensor(k->real, "loss", c.N),
                 .hidden = check_tensor(k->act, "hidden", c.N, c.C),
                 .weight = check_tensor(k->act, "weight", c.V, c.C),
                 .targets = check_tensor(I32, "targets", c.N),
                 .scratch = check_tensor(k->real, "scratch", c.rows, c.V),
                 .dhidden = check_tensor(k->act, "dhidden", c.N, c.C),
                 .dweight = check_tensor(k->real, "dweight", c.V, c.C)};
    check_fill(&p.hidden, 1, -2, 2);
    check_fill(&p.weight, 2, -1, 1);
    check_fill(&p.targets, 3, 0, (double)c.V);
    for (int64_t n = 2; n < c.N; n += 4) check_put(&p.targets, n, -1);
    return p;
}

static void forward(problem *p)
{
    p->k->head_loss_forward(&p->loss, &p->hidden, &p->weight, &p->targets, &p->scratch, p->k->stream);
}

static void backward(problem *p)
{
    p->k->head_loss_backward(&p->dhidden, &p->dweight, &p->loss, &p->hidden, &p->weight, &p->targets,
                             &p->scratch, p->k->stream);
}

/* The formula, a row at a time, in doubles; `dweight` is added to. */
static void plain(const problem *p, tensor *loss, tensor *dhidden, tensor *dweight)
{
    const int64_t N = p->hidden.dim[0], C = p->hidden.dim[1], V = p->weight.dim[0];
    const tensor hidden_copy = check_copy(&p->hidden, F64), weight_copy = check_copy(&p->weight, F64);
    const double *hidden = hidden_copy.data, *weight = weight_copy.data;
    double *dh = dhidden->data, *dw = dweight->data, *logit = malloc((size_t)V * sizeof *logit);
    check_set(loss, 0);
    check_set(dhidden, 0);
    for (int64_t n = 0; n < N; n++) {
        const int64_t target = (int64_t)check_get(&p->targets, n);
        if (target < 0) continue;
        double highest = -INFINITY, sum = 0;
        for (int64_t v = 0; v < V; v++) {
            logit[v] = 0;
            for (int64_t c = 0; c < C; c++) logit[v] += hidden[n * C + c] * weight[v * C + c];
            highest = fmax(highest, logit[v]);
        }
        for (int64_t v = 0; v < V; v++) sum += exp(logit[v] - highest);
        check_put(loss, n, highest + log(sum) - logit[target]);
        for (int64_t v = 0; v < V; v++) {
            const double d = exp(logit[v] - highest) / sum - (v == target);
            for (int64_t c = 0; c < C; c++) {
                dh[n * C + c] += d * weight[v * C + c];
                dw[v * C + c] += d * hidden[n * C + c];
            }
        }
    }
    free(logit);
}

static void test_plain(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            /* bf16: the loss comes from logits in float. The gradient by the logits is rounded, which both
             * products below see; errors of many logits partly cancel, so that with the rounding of dhidden
             * it is still one rounding and half a bit. */
            const double tolerance = check_tolerance(k->act);
            problem p = problem_of(k, cases[j]);
            const double small = 1 / (double)cases[j].V; /* no larger than the gradient that is added */
            check_fill(&p.dweight, 4, -small, small);
            tensor loss = check_copy(&p.loss, F64), dhidden = check_copy(&p.dhidden, F64),
                   dweight = check_copy(&p.dweight, F64);
            plain(&p, &loss, &dhidden, &dweight);
            forward(&p);
            check_close("loss", &p.loss, &loss, check_tolerance(k->real));
            const tensor loss_forward = check_copy(&p.loss, k->real);
            check_set(&p.loss, NAN);
            backward(&p);
            check_equal("loss of backward", &p.loss, &loss_forward);
            check_close("dhidden", &p.dhidden, &dhidden, tolerance);
            check_close("dweight", &p.dweight, &dweight, tolerance);
            const tensor dhidden_before = check_copy(&p.dhidden, k->act);
            backward(&p);
            plain(&p, &loss, &dhidden, &dweight);
            check_equal("dhidden written again", &p.dhidden, &dhidden_before);
            check_close("dweight of two", &p.dweight, &dweight, tolerance);
        }
}

/* Not counted: loss and gradient are 0, not merely small. */
static void test_not_counted(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, cases[1]);
        check_set(&p.targets, -1);
        check_set(&p.dweight, 3);
        backward(&p);
        for (int64_t n = 0; n < 7; n++) check_number("loss", check_get(&p.loss, n), 0, 0);
        for (int64_t e = 0; e < 7 * 3; e++) check_number("dhidden", check_get(&p.dhidden, e), 0, 0);
        for (int64_t e = 0; e < 5 * 3; e++) check_number("dweight", check_get(&p.dweight, e), 3, 0);
        forward(&p);
        for (int64_t n = 0; n < 7; n++) check_number("loss", check_get(&p.loss, n), 0, 0);
    }
}

/* Logits 0, 2000 and -2000: a sure right answer costs 0, a sure wrong one the whole distance. */
static void test_far_apart(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, (head_case){2, 1, 3, 2});
        check_set(&p.hidden, 1);
        for (int64_t v = 0; v < 3; v++) check_put(&p.weight, v, (double)(v == 2 ? -1 : v) * 2000);
        check_put(&p.targets, 0, 1);
        check_put(&p.targets, 1, 2);
        check_set(&p.dweight, 0);
        backward(&p);
        check_number("loss of the right answer", check_get(&p.loss, 0), 0, 0);
        check_number("loss of the wrong answer", check_get(&p.loss, 1), 4000, 1e-6);
        check_number("dhidden", check_get(&p.dhidden, 1), 4000, 1e-6);
        check_number("dweight", check_get(&p.dweight, 2), -1, 1e-6);
    }
}

/* A device finds out when it reads the target: the row's loss is NaN, which a step never takes, and nothing
 * else is harmed. The CPU refuses: below. */
static void test_outside_on_a_device(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (!k->device) continue;
        problem p = problem_of(k, cases[1]);
        forward(&p);
        const tensor before = check_copy(&p.loss, k->real);
        check_put(&p.targets, 3, 5);
        forward(&p);
        for (int64_t n = 0; n < 7; n++) {
            if (n == 3)
                assert_true(isnan(check_get(&p.loss, n)));
            else
                check_number("loss", check_get(&p.loss, n), check_get(&before, n), 0);
        }
    }
}

static double loss_sum(void *context)
{
    problem *p = context;
    forward(p);
    double sum = 0;
    for (int64_t n = 0; n < p->loss.dim[0]; n++) sum += check_get(&p->loss, n);
    return sum;
}

static void test_gradient(void **state)
{
    (void)state;
    for (int j = 0; j < 3; j++) {
        problem p = problem_of(ops_cpu_f64(), cases[j]);
        check_set(&p.dweight, 0);
        backward(&p);
        check_gradient("hidden", &p.hidden, &p.dhidden, loss_sum, &p);
        check_gradient("weight", &p.weight, &p.dweight, loss_sum, &p);
    }
}

static void outside(void *context)
{
    problem *p = context;
    check_put(&p->targets, 3, 5);
    forward(p);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), cases[1]);
    check_stops(outside, &p, ERR_BUG, "targets[3] is 5 of 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_plain),    CHECK_TEST(test_not_counted), CHECK_TEST(test_far_apart),
        CHECK_TEST(test_gradient), CHECK_TEST(test_refused),     CHECK_TEST(test_outside_on_a_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
