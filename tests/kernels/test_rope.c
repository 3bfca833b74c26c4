/* Rotation against the formula for complex numbers, in both layouts, on whole heads, on the last columns
 * of wider heads and on one head that lies beside a latent, at positions in any order; backward undoes
 * forward and is its transpose. */
#include "tests/support/check.h"
#include <complex.h>
#include <math.h>

/* x is (B,T,H,Dr), inside (B,T,H,before+Dr). H = 1 with `before` is the rotary key of kv_a. */
typedef struct rope_case {
    int64_t B, T, H, Dr, before;
} rope_case;
static const rope_case cases[] = {{1, 1, 1, 2, 0},   {2, 5, 3, 6, 0},   {2, 3, 3, 10, 7},
                                  {2, 7, 1, 32, 64}, {2, 3, 3, 16, 24}, {1, 4, 2, 16, 4}};
enum { NUM_CASES = sizeof cases / sizeof *cases, MORE = 3 /* positions of the tables beyond T */ };

typedef struct problem {
    const ops *k;
    rope_layout layout;
    tensor wide, x, cosine, sine, position, start, dout;
} problem;

static problem problem_of(const ops *k, rope_layout layout, rope_case c)
{
    problem p = {.k = k,
                 .layout = layout,
                 .wide = check_tensor(k->act, "x", c.B, c.T, c.H, c.before + c.Dr),
                 .cosine = check_tensor(k->real, "cosine", c.T + MORE, c.Dr / 2),
                 .sine = check_tensor(k->real, "sine", c.T + MORE, c.Dr / 2),
                 .position = check_tensor(I32, "position", c.B, c.T),
                 .start = check_tensor(k->act, "start", c.B, c.T, c.H, c.Dr),
                 .dout = check_tensor(k->act, "dout", c.B, c.T, c.H, c.Dr)};
    p.x = tensor_slice(&p.wide, c.before, c.Dr);
    for (int64_t i = 0; i < tensor_numel(&p.cosine); i++) {
        const double angle =
            (double)(i / (c.Dr / 2)) * pow(100, -(double)(i % (c.Dr / 2)) / (double)(c.Dr / 2));
        /* Rounded to float, so that both tables rotate by the same angles. */
        check_put(&p.cosine, i, (double)(float)cos(angle));
        check_put(&p.sine, i, (double)(float)sin(angle));
    }
    for (int64_t n = 0; n < c.B * c.T; n++) /* falls, starts over, and reaches both ends */
        check_put(&p.position, n, (double)((c.T + MORE - 1) * (n + 1) % (c.T + MORE)));
    check_fill(&p.start, 1, -1, 1);
    check_fill(&p.dout, 2, -1, 1);
    check_fill(&p.x, 1, -1, 1); /* equal to start */
    return p;
}

/* `start` rotated: (a + ib) (cos + i sin) for each pair of each head. */
static tensor rotated(const problem *p)
{
    tensor out = check_copy(&p->start, F64);
    const int64_t T = out.dim[1], H = out.dim[2], D = out.dim[3], half = D / 2;
    for (int64_t head = 0; head < out.dim[0] * T * H; head++)
        for (int64_t i = 0; i < half; i++) {
            const int64_t first = head * D + (p->layout == ROPE_HALVES ? i : 2 * i);
            const int64_t second = head * D + (p->layout == ROPE_HALVES ? i + half : 2 * i + 1);
            const int64_t angle = (int64_t)check_get(&p->position, head / H) * half + i;
            const double complex z = CMPLX(check_get(&p->start, first), check_get(&p->start, second)) *
                                     CMPLX(check_get(&p->cosine, angle), check_get(&p->sine, angle));
            check_put(&out, first, creal(z));
            check_put(&out, second, cimag(z));
        }
    return out;
}

static void check_beside(const problem *p)
{
    const tensor beside = tensor_slice(&p->wide, 0, p->wide.dim[3] - p->x.dim[3]);
    for (int64_t i = 0; i < tensor_numel(&beside); i++) assert_true(isnan(check_get(&beside, i)));
}

static void for_all(const ops *k, void (*check)(problem *p))
{
    for (int j = 0; j < NUM_CASES; j++)
        for (int layout = ROPE_HALVES; layout <= ROPE_PAIRS; layout++) {
            problem p = problem_of(k, (rope_layout)layout, cases[j]);
            check(&p);
        }
}

static void check_formula(problem *p)
{
    const tensor want = rotated(p);
    p->k->rope_forward(&p->x, &p->cosine, &p->sine, &p->position, p->layout, p->k->stream);
    check_close("forward", &p->x, &want, check_tolerance(p->k->act));
    check_beside(p);
    /* The table's angles are rounded, so the way back is exact only to float; bf16 rounds each way. */
    const double back = p->k->act == BF16 ? 2 * check_tolerance(BF16) : 1e-6;
    p->k->rope_backward(&p->x, &p->cosine, &p->sine, &p->position, p->layout, p->k->stream);
    check_close("and back", &p->x, &p->start, back);
    check_beside(p);
}

static void test_formula(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) for_all(k, check_formula);
}

static double loss(void *context)
{
    problem *p = context;
    tensor *x = &p->x;
    for (int64_t i = 0; i < tensor_numel(x); i++) check_put(x, i, check_get(&p->start, i));
    p->k->rope_forward(x, &p->cosine, &p->sine, &p->position, p->layout, p->k->stream);
    return check_dot(&p->dout, x);
}

static void check_differences(problem *p)
{
    tensor dx = check_copy(&p->dout, F64);
    p->k->rope_backward(&dx, &p->cosine, &p->sine, &p->position, p->layout, p->k->stream);
    check_gradient("x", &p->start, &dx, loss, p);
}

static void test_gradient(void **state)
{
    (void)state;
    for_all(ops_cpu_f64(), check_differences);
}

static void forward(void *context)
{
    problem *p = context;
    check_fill(&p->x, 1, -1, 1);
    p->k->rope_forward(&p->x, &p->cosine, &p->sine, &p->position, p->layout, p->k->stream);
}

static void check_bits(problem *p) { check_threads(forward, p, 1, (const tensor *const[]){&p->x}); }

static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) for_all(k, check_bits);
}

static void short_table(void *context)
{
    problem *p = context;
    p->cosine = tensor_rows(&p->cosine, 0, 7);
    p->sine = tensor_rows(&p->sine, 0, 7);
    forward(p);
}

static void negative_position(void *context)
{
    problem *p = context;
    check_put(&p->position, 9, -1);
    forward(p);
}

/* A position that the tables do not have: on a device its heads become NaN, and no others. */
static void test_unknown_position(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 2; (k = check_table(i)); i++)
        for (int layout = ROPE_HALVES; layout <= ROPE_PAIRS; layout++) {
            const rope_case c = cases[4];
            problem p = problem_of(k, (rope_layout)layout, c), right = problem_of(k, (rope_layout)layout, c);
            check_put(&p.position, 1, -1);
            check_put(&p.position, 4, (double)(c.T + MORE));
            forward(&p);
            forward(&right);
            for (int64_t e = 0; e < tensor_numel(&p.x); e++) {
                const int64_t row = e / (c.H * c.Dr);
                if (row == 1 || row == 4)
                    assert_true(isnan(check_get(&p.x, e)));
                else
                    assert_true(check_get(&p.x, e) == check_get(&right.x, e));
            }
        }
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), ROPE_PAIRS, cases[1]);
    check_stops(short_table, &p, ERR_BUG, "position[0] is 7, cosine has 7 positions");
    check_stops(negative_position, &p, ERR_BUG, "position[9] is -1, cosine has 8 positions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_formula),          CHECK_TEST(test_gradient), CHECK_TEST(test_threads),
        CHECK_TEST(test_unknown_position), CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
