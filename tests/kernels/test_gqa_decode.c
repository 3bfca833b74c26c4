/* Decoding of grouped-query attention against the formula in double, over what the cache holds; and, on the
 * CPU, that a row's bits are its own: alone or among others, whole or cut into calls, in any pages, with much
 * scratch or little. Sizes are no whole numbers of vectors, and one sequence is longer than a block of
 * positions. */
#include "tests/support/pages.h"
#include <math.h>
#include <stdlib.h>

typedef struct shape {
    int64_t H, G, D, Dv;
} shape;
static const shape shapes[] = {{1, 1, 1, 1}, {6, 2, 20, 13}, {9, 3, 16, 20}, {14, 1, 33, 70}};
enum { NUM_SHAPES = sizeof shapes / sizeof *shapes, LONGEST = 601 };

static const pages_span spans[] = {{1, 1}, {3, 3}, {1, 64}, {1, 600}, {0, 5}, {40, 300}, {2, 257}};
enum { NUM_SPANS = sizeof spans / sizeof *spans };

typedef struct problem {
    const ops *k;
    ragged r;
    tensor keys, values; /* (sequences, LONGEST, width): what is written to the cache */
    cached k_cache, v_cache;
    tensor out, q, scratch;
} problem;

static const double scale = 0.3;

/* Little scratch is the least that is allowed. */
static problem problem_of(const ops *k, shape c, dtype type, int64_t page, uint64_t seed, bool little)
{
    problem p = {.k = k, .r = pages_of(spans, NUM_SPANS, page, seed)};
    p.keys = check_tensor(k->act, "keys", NUM_SPANS, LONGEST, c.G * c.D);
    p.values = check_tensor(k->act, "values", NUM_SPANS, LONGEST, c.G * c.Dv);
    check_fill(&p.keys, 1, -1, 1);
    check_fill(&p.values, 2, -1, 1);
    p.k_cache = pages_cache(k, type, &p.r, &p.keys);
    p.v_cache = pages_cache(k, type, &p.r, &p.values);
    p.q = check_tensor(k->act, "q", p.r.N, c.H, c.D);
    p.out = check_tensor(k->act, "out", p.r.N, c.H, c.Dv);
    check_fill(&p.q, 3, -2, 2);
    p.scratch = check_tensor(k->real, "scratch", c.H * (c.Dv + 2) * (little ? 1 : p.r.N * 3));
    return p;
}

static void run(void *context)
{
    problem *p = context;
    p->k->gqa_decode(&p->out, &p->q, &p->k_cache, &p->v_cache, &p->r, scale, &p->scratch, p->k->stream);
}

/* The formula for row n, head h, in double. */
static void plain(const problem *p, shape c, const double *keys, const double *values, const double *q,
                  int64_t n, int64_t h, double *out)
{
    const int64_t i = pages_sequence(&p->r, n), last = pages_position(&p->r, n), g = h / (c.H / c.G);
    double *score = malloc((size_t)(last + 1) * sizeof *score), highest = -INFINITY, sum = 0;
    for (int64_t s = 0; s <= last; s++) {
        score[s] = 0;
        for (int64_t d = 0; d < c.D; d++)
            score[s] +=
                scale * q[(n * c.H + h) * c.D + d] * keys[((i * p->r.longest + s) * c.G + g) * c.D + d];
        highest = fmax(highest, score[s]);
    }
    for (int64_t s = 0; s <= last; s++) sum += score[s] = exp(score[s] - highest);
    for (int64_t d = 0; d < c.Dv; d++) {
        out[d] = 0;
        for (int64_t s = 0; s <= last; s++)
            out[d] += score[s] / sum * values[((i * p->r.longest + s) * c.G + g) * c.Dv + d];
    }
    free(score);
}

static void test_plain(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SHAPES; j++)
            for (int t = 0; t < 3; t++) {
                if (j != 1 && t != j % 3) continue; /* all types with one shape */
                const shape c = shapes[j];
                problem p = problem_of(k, c, (dtype[]){k->real, BF16, F8}[t], t == 1 ? 7 : 64, 5, j % 2);
                /* What a cache of halves or bytes holds: a table of bf16 reads it exactly only where it fits,
                 * so that its own formula begins with more digits. */
                const tensor keys = pages_read(k, &p.k_cache, &p.r), values = pages_read(k, &p.v_cache, &p.r),
                             q = check_copy(&p.q, F64);
                tensor want = check_copy(&p.out, F64);
                for (int64_t n = 0; n < p.r.N; n++)
                    for (int64_t h = 0; h < c.H; h++)
                        plain(&p, c, keys.data, values.data, q.data, n, h,
                              (double *)want.data + (n * c.H + h) * c.Dv);
                run(&p);
                check_close("out", &p.out, &want,
                            k->act == BF16 && t == 2 ? 2 * check_tolerance(BF16) : check_tolerance(k->act));
            }
}

/* Strided out and q: heads between others. */
static void test_strided(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        const shape c = shapes[1];
        problem p = problem_of(k, c, k->real, 64, 1, false);
        run(&p);
        const tensor want = check_copy(&p.out, k->act), q = check_copy(&p.q, k->act);
        tensor wide_q = check_tensor(k->act, "wide q", p.r.N, c.H, c.D + 3),
               wide_out = check_tensor(k->act, "wide out", p.r.N, c.H, c.Dv + 5);
        p.q = tensor_slice(&wide_q, 2, c.D);
        p.out = tensor_slice(&wide_out, 1, c.Dv);
        for (int64_t e = 0; e < tensor_numel(&q); e++) check_put(&p.q, e, check_get(&q, e));
        run(&p);
        check_close("strided", &p.out, &want, check_tolerance(k->act));
        for (int64_t e = 0; e < p.r.N * c.H; e++) assert_true(isnan(check_get(&wide_out, e * (c.Dv + 5))));
    }
}

/* Row n of p in a pass of its own, of which it is the last of `rows`. */
static void check_alone(const problem *p, shape c, dtype type, int64_t n, int64_t rows, int64_t page)
{
    const int64_t i = pages_sequence(&p->r, n), length = pages_position(&p->r, n) + 1;
    problem one = {.k = p->k, .r = pages_of(&(pages_span){rows, length}, 1, page, (uint64_t)n)};
    const tensor keys = tensor_rows(&p->keys, i, 1), values = tensor_rows(&p->values, i, 1),
                 want = tensor_rows(&p->out, n + 1 - rows, rows);
    one.k_cache = pages_cache(p->k, type, &one.r, &keys);
    one.v_cache = pages_cache(p->k, type, &one.r, &values);
    one.q = tensor_rows(&p->q, n + 1 - rows, rows);
    one.out = check_tensor(p->k->act, "out", rows, c.H, c.Dv);
    one.scratch = check_tensor(p->k->real, "scratch", c.H * (c.Dv + 2) * (n % 2 ? 1 : rows * 3));
    run(&one);
    check_equal("row in a pass of its own", &one.out, &want);
}

static void test_company(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 1; j < NUM_SHAPES && !k->device; j++) {
            const dtype type = j == 1 ? k->real : j == 2 ? BF16 : F8;
            problem p = problem_of(k, shapes[j], type, 64, 11, false);
            const tensor *const out = &p.out;
            check_threads(run, &p, 1, &out);
            const tensor first = check_copy(&p.out, k->act);
            problem other = problem_of(k, shapes[j], type, 24, 12, true);
            run(&other);
            check_equal("other pages, little scratch", &other.out, &first);
            for (int64_t n = 0; n < 6; n++) check_alone(&p, shapes[j], type, n, 1, 64);
            for (int64_t n = 6; n < p.r.N; n += 9) /* rows 6 to 45 are those of one sequence */
                check_alone(&p, shapes[j], type, n, n < 46 && n % 2 ? n - 5 : 1, n % 3 ? 64 : 32);
        }
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), shapes[1], F32, 64, 1, false);
    check_put(&p.r.length, 2, 5000);
    check_stops(run, &p, ERR_BUG, "sequence 2 has 1 rows, length 5000 of at most 600");
    check_put(&p.r.length, 2, 64);
    check_put(&p.r.table, 0, 9999);
    check_stops(run, &p, ERR_BUG, "page 9999 of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_plain),
        CHECK_TEST(test_strided),
        CHECK_TEST(test_company),
        CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
