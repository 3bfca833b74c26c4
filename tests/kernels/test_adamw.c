/* Several steps against the formulas of ops.def in double, with and without weight decay and scaled
 * gradients. */
#include "tests/support/check.h"
#include <math.h>

enum { STEPS = 6, ELEMENTS = 4099 /* more than a block */ };

typedef struct problem {
    const ops *k;
    tensor weight, m, v, grad;
    adamw_scalars a;
} problem;

static problem problem_of(const ops *k, double decay, double grad_scale)
{
    problem p = {.k = k,
                 .weight = check_tensor(k->real, "weight", ELEMENTS),
                 .m = check_tensor(k->real, "m", ELEMENTS),
                 .v = check_tensor(k->real, "v", ELEMENTS),
                 .grad = check_tensor(k->real, "grad", ELEMENTS),
                 .a = {.rate = 1e-2,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .decay = decay,
                       .grad_scale = grad_scale}};
    check_fill(&p.weight, 1, -1, 1);
    check_set(&p.m, 0);
    check_set(&p.v, 0);
    return p;
}

static void next_gradient(problem *p)
{
    p->a.step++;
    check_fill(&p->grad, 10 + (uint64_t)p->a.step, -3, 3);
}

/* The update of ops.def on double tensors. */
static void formula(const adamw_scalars *a, tensor *weight, tensor *m, tensor *v, const tensor *grad)
{
    for (int64_t i = 0; i < ELEMENTS; i++) {
        const double g = check_get(grad, i) * a->grad_scale;
        check_put(m, i, a->beta1 * check_get(m, i) + (1 - a->beta1) * g);
        check_put(v, i, a->beta2 * check_get(v, i) + (1 - a->beta2) * g * g);
        const double mean = check_get(m, i) / (1 - pow(a->beta1, (double)a->step));
        const double square = check_get(v, i) / (1 - pow(a->beta2, (double)a->step));
        check_put(weight, i,
                  check_get(weight, i) * (1 - a->rate * a->decay) - a->rate * mean / (sqrt(square) + a->eps));
    }
}

static void test_formula(void **state)
{
    (void)state;
    static const double settings[][3] = {
        {0, 1, 1e-8}, {0.1, 1, 0.1}, {0.1, 1.0 / 4096, 1e-8}}; /* decay, grad_scale, eps */
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < 3; j++) {
            problem p = problem_of(k, settings[j][0], settings[j][1]);
            p.a.eps = settings[j][2];
            tensor weight = check_copy(&p.weight, F64), m = check_copy(&p.m, F64), v = check_copy(&p.v, F64);
            for (int step = 0; step < STEPS; step++) {
                next_gradient(&p);
                const tensor kept = check_copy(&p.grad, k->real);
                formula(&p.a, &weight, &m, &v, &p.grad);
                k->adamw_update(&p.weight, &p.m, &p.v, &p.grad, &p.a, NULL);
                check_close("weight", &p.weight, &weight, check_tolerance(k->real));
                check_close("m", &p.m, &m, check_tolerance(k->real));
                check_close("v", &p.v, &v, check_tolerance(k->real));
                check_equal("grad", &p.grad, &kept);
            }
        }
}

/* Worked out by hand: the first step moves every weight by rate, against the gradient's sign, whatever the
 * gradient's size; where there never was a gradient, only the decay moves it. */
static void test_first_step(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, 0.5, 1);
        p.a.step = 1;
        check_set(&p.weight, 2);
        check_set(&p.grad, -1e-3);
        check_put(&p.grad, 1, 7);
        check_put(&p.grad, 2, 0);
        k->adamw_update(&p.weight, &p.m, &p.v, &p.grad, &p.a, NULL);
        check_number("up", check_get(&p.weight, 0), 2 * 0.995 + 0.01, 1e-6);
        check_number("down", check_get(&p.weight, 1), 2 * 0.995 - 0.01, 1e-6);
        check_number("decay alone", check_get(&p.weight, 2), 2 * 0.995, 1e-6);
    }
}

static void two_steps(void *context)
{
    problem *p = context;
    *p = problem_of(p->k, 0.1, 0.5);
    for (int step = 0; step < 2; step++) {
        next_gradient(p);
        p->k->adamw_update(&p->weight, &p->m, &p->v, &p->grad, &p->a, NULL);
    }
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = {.k = k};
        check_threads(two_steps, &p, 3, (const tensor *const[]){&p.weight, &p.m, &p.v});
    }
}

static void step_zero(void *context)
{
    problem *p = context;
    p->k->adamw_update(&p->weight, &p->m, &p->v, &p->grad, &p->a, NULL);
}

static void test_refused(void **state)
{
    (void)state;
    problem p = problem_of(ops_cpu_f32(), 0, 1);
    check_stops(step_zero, &p, ERR_BUG, "step 0, expected 1 or more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_formula),
        CHECK_TEST(test_first_step),
        CHECK_TEST(test_threads),
        CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
