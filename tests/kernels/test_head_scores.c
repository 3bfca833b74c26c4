/* Log-probabilities against the formula in double: chunks that divide the rows and that do not, targets that
 * are not counted, equals of which the lowest is the likeliest; and, on the CPU, that a row's bits are its
 * own. */
#include "tests/support/check.h"
#include <math.h>

typedef struct head_case {
    int64_t N, C, V, rows; /* rows: of scratch */
} head_case;
static const head_case cases[] = {
    {1, 1, 2, 1}, {7, 3, 5, 3}, {40, 12, 1025, 16}, {9, 20, 33, 20}, {1, 3, 1, 1}};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    const ops *k;
    tensor scores, hidden, weight, targets, scratch;
} problem;

static problem problem_of(const ops *k, head_case c)
{
    problem p = {.k = k,
                 .scores = check_tensor(F64, "scores", c.N, 3),
                 .hidden = check_tensor(k->act, "hidden", c.N, c.C),
                 .weight = check_tensor(k->act, "weight", c.V, c.C),
                 .targets = check_tensor(I32, "targets", c.N),
                 .scratch = check_tensor(k->real, "scratch", c.rows, c.V)};
    check_fill(&p.hidden, 1, -2, 2);
    check_fill(&p.weight, 2, -1, 1);
    check_fill(&p.targets, 3, 0, (double)c.V);
    for (int64_t n = 2; n < c.N; n += 4) check_put(&p.targets, n, -1);
    return p;
}

static void run(void *context)
{
    problem *p = context;
    p->k->head_scores(&p->scores, &p->hidden, &p->weight, &p->targets, &p->scratch, p->k->stream);
}

static double score(const problem *p, int64_t n, int column) { return check_get(&p->scores, n * 3 + column); }

static void test_plain(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            const head_case c = cases[j];
            problem p = problem_of(k, c);
            run(&p);
            for (int64_t n = 0; n < c.N; n++) {
                double logit[1025], highest = -INFINITY, sum = 0;
                for (int64_t v = 0; v < c.V; v++) {
                    logit[v] = 0;
                    for (int64_t e = 0; e < c.C; e++)
                        logit[v] += check_get(&p.hidden, n * c.C + e) * check_get(&p.weight, v * c.C + e);
                    highest = fmax(highest, logit[v]);
                }
                for (int64_t v = 0; v < c.V; v++) sum += exp(logit[v] - highest);
                /* Logits are rounded, so that their differences have an error of their size. */
                const double near = k->real == F64 ? 1e-12 : 2e-6 * (1 + fabs(highest));
                const int64_t target = (int64_t)check_get(&p.targets, n), best = (int64_t)score(&p, n, 1);
                const double want = target < 0 ? 0 : logit[target] - highest - log(sum);
                assert_true(fabs(score(&p, n, 0) - want) <= near);
                assert_true(fabs(score(&p, n, 2) + log(sum)) <= near);
                assert_true(best >= 0 && best < c.V && highest - logit[best] <= near);
                if (best == target) assert_true(score(&p, n, 0) == score(&p, n, 2));
            }
        }
}

/* The likeliest as the target: the same bits. Of equal logits the lowest id. Far apart: exactly 0. */
static void test_likeliest(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        problem p = problem_of(k, cases[2]);
        run(&p);
        for (int64_t n = 0; n < cases[2].N; n++) check_put(&p.targets, n, score(&p, n, 1));
        run(&p);
        for (int64_t n = 0; n < cases[2].N; n++) assert_true(score(&p, n, 0) == score(&p, n, 2));

        check_set(&p.hidden, 1);
        check_set(&p.weight, 0.25);
        run(&p);
        for (int64_t n = 0; n < cases[2].N; n++) {
            check_number("likeliest of equals", score(&p, n, 1), 0, 0);
            check_number("its score", score(&p, n, 2), -log(1025), 1e-6);
        }
        for (int64_t e = 0; e < 12; e++) check_put(&p.weight, 777 * 12 + e, 1000);
        check_put(&p.targets, 0, 777);
        check_put(&p.targets, 1, 5);
        run(&p);
        check_number("sure", score(&p, 0, 0), 0, 0);
        check_number("the likeliest", score(&p, 0, 1), 777, 0);
        check_number("hopeless", score(&p, 1, 0), -12 * 999.75, 1e-6);
    }
}

static void test_company(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        if (k->device) continue;
        const head_case c = cases[2];
        problem p = problem_of(k, c);
        const tensor *const out = &p.scores;
        check_threads(run, &p, 1, &out);
        for (int64_t n = 1; n < c.N; n++) {
            problem part = p;
            part.hidden = tensor_rows(&p.hidden, c.N - n, n);
            part.targets = tensor_rows(&p.targets, c.N - n, n);
            part.scores = check_tensor(F64, "scores", n, 3);
            part.scratch = check_tensor(k->real, "scratch", 1 + n % 5, c.V);
            run(&part);
            const tensor want = tensor_rows(&p.scores, c.N - n, n);
            check_equal("rows in a call of their own", &part.scores, &want);
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), cases[1]);
    check_put(&p.targets, 3, 5);
    check_stops(run, &p, ERR_BUG, "targets[3] is 5 of 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_plain), CHECK_TEST(test_likeliest),
                                       CHECK_TEST(test_company), CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
