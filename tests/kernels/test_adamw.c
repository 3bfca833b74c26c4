/* Several steps against the formulas of ops.def in double, with and without weight decay and scaled
 * gradients. */
#include "tests/support/check.h"
#include <math.h>

enum { STEPS = 6, ELEMENTS = 4099 /* more than a block */ };

typedef struct problem {
    const ops *k;
    tensor weight, master, m, v, grad, factor; /* master is the weight where the types are equal */
    adamw_scalars a;
} problem;

static problem problem_of(const ops *k, double decay, double factor)
{
    problem p = {.k = k,
                 .weight = check_tensor(k->act, "weight", ELEMENTS),
                 .m = check_tensor(k->real, "m", ELEMENTS),
                 .v = check_tensor(k->real, "v", ELEMENTS),
                 .grad = check_tensor(k->real, "grad", ELEMENTS),
                 .factor = check_tensor(F64, "factor", 1),
                 .a = {.rate = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = decay}};
    p.master = k->act == k->real ? p.weight : check_tensor(k->real, "master", ELEMENTS);
    check_set(&p.factor, factor);
    check_fill(&p.master, 1, -1, 1);
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
static void formula(const adamw_scalars *a, double factor, tensor *weight, tensor *m, tensor *v,
                    const tensor *grad)
{
    for (int64_t i = 0; i < ELEMENTS; i++) {
        const double g = check_get(grad, i) * factor;
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
        {0, 1, 1e-8}, {0.1, 1, 0.1}, {0.1, 1.0 / 4096, 1e-8}}; /* decay, factor, eps */
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < 3; j++) {
            problem p = problem_of(k, settings[j][0], settings[j][1]);
            p.a.eps = settings[j][2];
            tensor weight = check_copy(&p.master, F64), m = check_copy(&p.m, F64), v = check_copy(&p.v, F64);
            for (int step = 0; step < STEPS; step++) {
                next_gradient(&p);
                const tensor kept = check_copy(&p.grad, k->real);
                formula(&p.a, settings[j][1], &weight, &m, &v, &p.grad);
                k->adamw_update(&p.weight, &p.master, &p.m, &p.v, &p.grad, &p.factor, &p.a, k->stream);
                check_close("master", &p.master, &weight, check_tolerance(k->real));
                check_close("weight", &p.weight, &weight, check_tolerance(k->act));
                const tensor rounded = check_copy(&p.master, k->act);
                check_equal("weight, which is the master rounded", &p.weight, &rounded);
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
        check_set(&p.master, 2);
        check_set(&p.grad, -1e-3);
        check_put(&p.grad, 1, 7);
        check_put(&p.grad, 2, 0);
        k->adamw_update(&p.weight, &p.master, &p.m, &p.v, &p.grad, &p.factor, &p.a, k->stream);
        check_number("up", check_get(&p.master, 0), 2 * 0.995 + 0.01, 1e-6);
        check_number("down", check_get(&p.master, 1), 2 * 0.995 - 0.01, 1e-6);
        check_number("decay alone", check_get(&p.master, 2), 2 * 0.995, 1e-6);
    }
}

/* A slice of a unit starts anywhere: where no tensor starts at a whole vector, and each at another place in
 * its. */
static void test_slice(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem whole = problem_of(k, 0.1, 0.5), p = problem_of(k, 0.1, 0.5);
        next_gradient(&whole);
        next_gradient(&p);
        k->adamw_update(&whole.weight, &whole.master, &whole.m, &whole.v, &whole.grad, &whole.factor,
                        &whole.a, k->stream);
        const tensor kept = check_copy(&p.master, k->real);
        const int64_t n = ELEMENTS - 3;
        tensor weight = tensor_rows(&p.weight, 3, n), master = tensor_rows(&p.master, 3, n),
               m = tensor_rows(&p.m, 3, n), v = tensor_rows(&p.v, 3, n);
        const tensor grad = tensor_rows(&p.grad, 3, n), want = tensor_rows(&whole.master, 3, n),
                     before = tensor_rows(&p.master, 0, 3), kept_before = tensor_rows(&kept, 0, 3);
        k->adamw_update(&weight, &master, &m, &v, &grad, &p.factor, &p.a, k->stream);
        check_close("slice", &master, &want, check_tolerance(k->real));
        check_equal("before the slice", &before, &kept_before);
    }
}

/* A factor that is not a number: loss or norm was not finite, nothing changes. */
static void test_skipped(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, 0.5, (double)NAN);
        check_fill(&p.weight, 2, -1, 1);
        next_gradient(&p);
        const tensor weight = check_copy(&p.weight, k->act), master = check_copy(&p.master, k->real),
                     m = check_copy(&p.m, k->real), v = check_copy(&p.v, k->real);
        k->adamw_update(&p.weight, &p.master, &p.m, &p.v, &p.grad, &p.factor, &p.a, k->stream);
        check_equal("weight", &p.weight, &weight);
        check_equal("master", &p.master, &master);
        check_equal("m", &p.m, &m);
        check_equal("v", &p.v, &v);
    }
}

static void two_steps(void *context)
{
    problem *p = context;
    *p = problem_of(p->k, 0.1, 0.5);
    for (int step = 0; step < 2; step++) {
        next_gradient(p);
        p->k->adamw_update(&p->weight, &p->master, &p->m, &p->v, &p->grad, &p->factor, &p->a, p->k->stream);
    }
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = {.k = k};
        check_threads(two_steps, &p, 4, (const tensor *const[]){&p.weight, &p.master, &p.m, &p.v});
    }
}

static void step_zero(void *context)
{
    problem *p = context;
    p->k->adamw_update(&p->weight, &p->master, &p->m, &p->v, &p->grad, &p->factor, &p->a, p->k->stream);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), 0, 1);
    check_stops(step_zero, &p, ERR_BUG, "step 0, expected 1 or more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_formula), CHECK_TEST(test_first_step), CHECK_TEST(test_slice),
        CHECK_TEST(test_skipped), CHECK_TEST(test_threads),    CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
