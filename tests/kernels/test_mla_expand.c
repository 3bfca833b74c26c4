/* Keys are copies of slices of kv_b's output (B,T,H,Dn+Dv) and kv_a's (B,T,R+Dr), so forward is exact;
 * backward is compared with a loop in double and with differences. */
#include "tests/support/check.h"
#include <math.h>

typedef struct expand_case {
    int64_t B, T, H, Dn, Dr, Dv, R;
} expand_case;
static const expand_case cases[] = {{1, 1, 1, 1, 2, 0, 0}, {2, 3, 4, 5, 6, 3, 7}, {1, 9, 9, 64, 32, 64, 96}};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    tensor kv, kv_a, dkv, dkv_a;                      /* the wider tensors; gradients hold NaN */
    tensor keys, nope, rotary, dkeys, dnope, drotary; /* nope, rotary and their gradients are views of them */
} problem;

static problem problem_of(const ops *k, expand_case c)
{
    problem p = {.k = k,
                 .kv = check_tensor(k->act, "kv", c.B, c.T, c.H, c.Dn + c.Dv),
                 .kv_a = check_tensor(k->act, "kv_a", c.B, c.T, c.R + c.Dr),
                 .dkv = check_tensor(k->act, "dkv", c.B, c.T, c.H, c.Dn + c.Dv),
                 .dkv_a = check_tensor(k->act, "dkv_a", c.B, c.T, c.R + c.Dr),
                 .keys = check_tensor(k->act, "k", c.B, c.T, c.H, c.Dn + c.Dr),
                 .dkeys = check_tensor(k->act, "dk", c.B, c.T, c.H, c.Dn + c.Dr)};
    check_fill(&p.kv, 1, -1, 1);
    check_fill(&p.kv_a, 2, -1, 1);
    check_fill(&p.dkeys, 3, -1, 1);
    p.nope = tensor_slice(&p.kv, 0, c.Dn);
    p.dnope = tensor_slice(&p.dkv, 0, c.Dn);
    p.rotary = tensor_slice(&p.kv_a, c.R, c.Dr);
    p.drotary = tensor_slice(&p.dkv_a, c.R, c.Dr);
    return p;
}

static void check_nan(tensor t)
{
    for (int64_t i = 0; i < tensor_numel(&t); i++) assert_true(isnan(check_get(&t, i)));
}

static void test_forward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            problem p = problem_of(k, cases[j]);
            const int64_t H = cases[j].H, Dn = cases[j].Dn, Dr = cases[j].Dr;
            k->mla_expand_forward(&p.keys, &p.nope, &p.rotary, k->stream);
            const tensor own = tensor_slice(&p.keys, 0, Dn), shared = tensor_slice(&p.keys, Dn, Dr);
            check_equal("own part", &own, &p.nope);
            for (int64_t e = 0; e < tensor_numel(&shared); e++)
                check_number("shared part", check_get(&shared, e),
                             check_get(&p.rotary, e / (H * Dr) * Dr + e % Dr), 0);
        }
}

static void test_backward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            problem p = problem_of(k, cases[j]);
            const expand_case c = cases[j];
            const tensor own = tensor_slice(&p.dkeys, 0, c.Dn), shared = tensor_slice(&p.dkeys, c.Dn, c.Dr);
            tensor want = check_copy(&p.drotary, F64);
            check_set(&want, 0);
            for (int64_t e = 0; e < tensor_numel(&shared); e++) {
                const int64_t at = e / (c.H * c.Dr) * c.Dr + e % c.Dr;
                check_put(&want, at, check_get(&want, at) + check_get(&shared, e));
            }
            /* Twice: both gradients are written, not added to; and what lies beside them is left alone. */
            for (int twice = 0; twice < 2; twice++) {
                k->mla_expand_backward(&p.dnope, &p.drotary, &p.dkeys, k->stream);
                check_equal("dnope", &p.dnope, &own);
                check_close("drotary", &p.drotary, &want, check_tolerance(k->act));
                check_nan(tensor_slice(&p.dkv, c.Dn, c.Dv));
                check_nan(tensor_slice(&p.dkv_a, 0, c.R));
            }
        }
}

static double loss(void *context)
{
    problem *p = context;
    p->k->mla_expand_forward(&p->keys, &p->nope, &p->rotary, p->k->stream);
    return check_dot(&p->dkeys, &p->keys);
}

static void test_gradient(void **state)
{
    (void)state;
    for (int j = 0; j < 2; j++) {
        problem p = problem_of(ops_cpu_f64(), cases[j]);
        p.k->mla_expand_backward(&p.dnope, &p.drotary, &p.dkeys, p.k->stream);
        check_gradient("nope", &p.nope, &p.dnope, loss, &p);
        check_gradient("rotary", &p.rotary, &p.drotary, loss, &p);
    }
}

static void backward(void *context)
{
    problem *p = context;
    p->k->mla_expand_backward(&p->dnope, &p->drotary, &p->dkeys, p->k->stream);
}

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, cases[2]);
        check_threads(backward, &p, 2, (const tensor *const[]){&p.dnope, &p.drotary});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_forward),
        CHECK_TEST(test_backward),
        CHECK_TEST(test_gradient),
        CHECK_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
