/* Forward against the formula in double, backward against float and double and differences, in place, and
 * far out where exp overflows. */
#include "tests/support/check.h"
#include <math.h>

static const int64_t sizes[][2] = {{1, 1}, {3, 7}, {5, 1541}}; /* the last is more than a block */
enum { NUM_SIZES = sizeof sizes / sizeof *sizes };

typedef struct problem {
    const ops *k;
    tensor out, gate, up, dgate, dup, dout;
} problem;

static problem problem_of(const ops *k, const int64_t *size)
{
    problem p = {.k = k,
                 .out = check_tensor(k->act, "out", size[0], size[1]),
                 .gate = check_tensor(k->act, "gate", size[0], size[1]),
                 .up = check_tensor(k->act, "up", size[0], size[1]),
                 .dgate = check_tensor(k->act, "dgate", size[0], size[1]),
                 .dup = check_tensor(k->act, "dup", size[0], size[1]),
                 .dout = check_tensor(k->act, "dout", size[0], size[1])};
    check_fill(&p.gate, 1, -8, 8);
    check_fill(&p.up, 2, -2, 2);
    check_fill(&p.dout, 3, -1, 1);
    return p;
}

static double silu(double x) { return x / (1 + exp(-x)); }

static void test_formula(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SIZES; j++) {
            problem p = problem_of(k, sizes[j]);
            tensor want = check_copy(&p.out, F64);
            for (int64_t e = 0; e < tensor_numel(&want); e++)
                check_put(&want, e, silu(check_get(&p.gate, e)) * check_get(&p.up, e));
            k->swiglu_forward(&p.out, &p.gate, &p.up, k->stream);
            check_close("out", &p.out, &want, check_tolerance(k->act));
        }
}

/* Far out silu(x) is x or 0 and its slope 1 or 0; nothing overflows. */
static void test_extremes(void **state)
{
    (void)state;
    static const double gate[] = {100, -100, 8192, -8192, 0}, silu_at[] = {100, 0, 8192, 0, 0},
                        slope[] = {1, 0, 1, 0, 0.5};
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, (int64_t[]){1, 5});
        check_set(&p.up, 2);
        check_set(&p.dout, 3);
        for (int e = 0; e < 5; e++) check_put(&p.gate, e, gate[e]);
        k->swiglu_forward(&p.out, &p.gate, &p.up, k->stream);
        k->swiglu_backward(&p.dgate, &p.dup, &p.dout, &p.gate, &p.up, k->stream);
        for (int e = 0; e < 5; e++) {
            check_number("out", check_get(&p.out, e), 2 * silu_at[e], 1e-12);
            check_number("dup", check_get(&p.dup, e), 3 * silu_at[e], 1e-12);
            check_number("dgate", check_get(&p.dgate, e), 6 * slope[e], 1e-12);
        }
    }
}

static double loss(void *context)
{
    problem *p = context;
    p->k->swiglu_forward(&p->out, &p->gate, &p->up, p->k->stream);
    return check_dot(&p->dout, &p->out);
}

static void test_gradient(void **state)
{
    (void)state;
    for (int j = 0; j < 2; j++) {
        problem p = problem_of(ops_cpu_f64(), sizes[j]);
        p.k->swiglu_backward(&p.dgate, &p.dup, &p.dout, &p.gate, &p.up, p.k->stream);
        check_gradient("gate", &p.gate, &p.dgate, loss, &p);
        check_gradient("up", &p.up, &p.dup, loss, &p);
    }
}

/* Every table against double, of the same numbers; again, so that writing shows; dgate in the place of dout;
 * and without the first row, where no tensor starts at a whole vector. */
static void test_backward(void **state)
{
    (void)state;
    const ops *k, *exact = ops_cpu_f64();
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SIZES; j++) {
            problem p = problem_of(k, sizes[j]);
            const tensor gate = check_copy(&p.gate, F64), up = check_copy(&p.up, F64),
                         dout = check_copy(&p.dout, F64);
            tensor dgate = check_copy(&gate, F64), dup = check_copy(&up, F64);
            exact->swiglu_backward(&dgate, &dup, &dout, &gate, &up, exact->stream);
            for (int twice = 0; twice < 2; twice++) {
                k->swiglu_backward(&p.dgate, &p.dup, &p.dout, &p.gate, &p.up, k->stream);
                check_close("dgate", &p.dgate, &dgate, check_tolerance(k->act));
                check_close("dup", &p.dup, &dup, check_tolerance(k->act));
            }
            const int64_t below = sizes[j][0] - 1;
            tensor low_dgate = tensor_rows(&p.dgate, 1, below), low_dup = tensor_rows(&p.dup, 1, below);
            const tensor low_dout = tensor_rows(&p.dout, 1, below), low_gate = tensor_rows(&p.gate, 1, below),
                         low_up = tensor_rows(&p.up, 1, below), want = tensor_rows(&dgate, 1, below);
            check_set(&low_dgate, 0);
            k->swiglu_backward(&low_dgate, &low_dup, &low_dout, &low_gate, &low_up, k->stream);
            check_close("dgate of the lower rows", &low_dgate, &want, check_tolerance(k->act));

            k->swiglu_backward(&p.dout, &p.dup, &p.dout, &p.gate, &p.up, k->stream);
            check_close("dgate is dout", &p.dout, &dgate, check_tolerance(k->act));
        }
}

static void both(void *context)
{
    problem *p = context;
    p->k->swiglu_forward(&p->out, &p->gate, &p->up, p->k->stream);
    p->k->swiglu_backward(&p->dgate, &p->dup, &p->dout, &p->gate, &p->up, p->k->stream);
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, sizes[2]);
        check_threads(both, &p, 3, (const tensor *const[]){&p.out, &p.dgate, &p.dup});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_formula),  CHECK_TEST(test_extremes), CHECK_TEST(test_gradient),
        CHECK_TEST(test_backward), CHECK_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
