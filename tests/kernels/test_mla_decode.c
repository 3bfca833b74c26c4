/* Decoding in the latent space against decoding of one key/value head, in double, whose values are a copy of
 * the first R numbers of its keys (test_gqa_decode compares that with the formula); and, on the CPU, that a
 * row's bits are its own. */
#include "tests/support/pages.h"
#include <math.h>

typedef struct shape {
    int64_t H, R, Dr;
} shape;
static const shape shapes[] = {{1, 3, 2}, {9, 40, 10}, {16, 128, 32}, {70, 17, 16}};
enum { NUM_SHAPES = sizeof shapes / sizeof *shapes, LONGEST = 530 };

static const pages_span spans[] = {{1, 530}, {3, 3}, {1, 64}, {20, 270}, {0, 7}, {1, 1}};
enum { NUM_SPANS = sizeof spans / sizeof *spans };
static const double scale = 0.2;

typedef struct problem {
    const ops *k;
    ragged r;
    tensor rows; /* (sequences, LONGEST, R+Dr): what is written to the cache */
    cached latents;
    tensor out, q, scratch;
} problem;

static problem problem_of(const ops *k, shape c, dtype type, int64_t page, uint64_t seed, bool little)
{
    problem p = {.k = k, .r = pages_of(spans, NUM_SPANS, page, seed)};
    p.rows = check_tensor(k->act, "rows", NUM_SPANS, LONGEST, c.R + c.Dr);
    check_fill(&p.rows, 1, -1, 1);
    p.latents = pages_cache(k, type, &p.r, &p.rows);
    p.q = check_tensor(k->act, "q", p.r.N, c.H, c.R + c.Dr);
    p.out = check_tensor(k->act, "out", p.r.N, c.H, c.R);
    check_fill(&p.q, 3, -2, 2);
    p.scratch = check_tensor(k->real, "scratch", c.H * (c.R + 2) * (little ? 1 : p.r.N * 3));
    return p;
}

static void run(void *context)
{
    problem *p = context;
    p->k->mla_decode(&p->out, &p->q, &p->latents, &p->r, scale, &p->scratch, p->k->stream);
}

/* The same by gqa_decode in double, over what p's cache holds. */
static tensor other_way(const problem *p, shape c)
{
    const ops *exact = ops_cpu_f64();
    const tensor rows = pages_read(p->k, &p->latents, &p->r), slice = tensor_slice(&rows, 0, c.R),
                 values = check_copy(&slice, F64), q = check_copy(&p->q, F64);
    const cached k_cache = pages_cache(exact, F64, &p->r, &rows),
                 v_cache = pages_cache(exact, F64, &p->r, &values);
    tensor out = check_copy(&p->out, F64), scratch = check_tensor(F64, "scratch", c.H * (c.R + 2));
    exact->gqa_decode(&out, &q, &k_cache, &v_cache, &p->r, scale, &scratch, exact->stream);
    return out;
}

static void test_other_way(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SHAPES; j++)
            for (int t = 0; t < 3; t++) {
                if (j != 1 && t != j % 3) continue; /* all types with one shape */
                problem p =
                    problem_of(k, shapes[j], (dtype[]){k->real, BF16, F8}[t], j == 1 ? 16 : 64, 3, t % 2);
                const tensor want = other_way(&p, shapes[j]);
                run(&p);
                /* A table of bf16 reads a row of bytes as bf16, its own formula does not: two roundings. */
                check_close("out", &p.out, &want,
                            k->act == BF16 && t != 1 ? 2 * check_tolerance(BF16) : check_tolerance(k->act));
            }
}

static void test_company(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 1; j < NUM_SHAPES && !k->device; j++) {
            const dtype type = (dtype[]){k->real, BF16, F8}[j - 1];
            problem p = problem_of(k, shapes[j], type, 64, 11, false);
            const tensor *const out = &p.out;
            check_threads(run, &p, 1, &out);
            for (int64_t n = 0; n < p.r.N; n += 5) {
                const int64_t s = pages_sequence(&p.r, n);
                problem one = {.k = k,
                               .r = pages_of(&(pages_span){1, pages_position(&p.r, n) + 1}, 1, 32, 1)};
                const tensor rows = tensor_rows(&p.rows, s, 1), want = tensor_rows(&p.out, n, 1);
                one.latents = pages_cache(k, type, &one.r, &rows);
                one.q = tensor_rows(&p.q, n, 1);
                one.out = check_tensor(k->act, "out", 1, shapes[j].H, shapes[j].R);
                one.scratch = p.scratch;
                run(&one);
                check_equal("row in a pass of its own", &one.out, &want);
            }
        }
}

/* The widest latents that the paper converts to: Llama-2-7B at -68.75 %. One query behind 70 positions, whose
 * result is written out here. */
static void test_widest(void **state)
{
    (void)state;
    enum { R = 2496, WIDTH = R + 64, SEEN = 70 };
    const ops *k = ops_cpu_f32();
    check_on_host();
    problem p = {.k = k, .r = pages_of(&(pages_span){1, SEEN}, 1, 64, 5)};
    p.rows = check_tensor(F32, "rows", 1, SEEN, WIDTH);
    p.q = check_tensor(F32, "q", 1, 1, WIDTH);
    p.out = check_tensor(F32, "out", 1, 1, R);
    p.scratch = check_tensor(F32, "scratch", R + 2);
    check_fill(&p.rows, 1, -1, 1);
    check_fill(&p.q, 2, -0.2, 0.2);
    for (int t = 0; t < 3; t++) {
        p.latents = pages_cache(k, (dtype[]){F32, BF16, F8}[t], &p.r, &p.rows);
        const tensor rows = pages_read(k, &p.latents, &p.r);
        tensor want = check_tensor(F64, "want", 1, 1, R);
        double weight[SEEN], sum = 0;
        for (int i = 0; i < SEEN; i++) {
            double score = 0;
            for (int d = 0; d < WIDTH; d++) score += check_get(&p.q, d) * check_get(&rows, i * WIDTH + d);
            sum += weight[i] = exp(scale * score);
        }
        for (int d = 0; d < R; d++) {
            double value = 0;
            for (int i = 0; i < SEEN; i++) value += weight[i] * check_get(&rows, i * WIDTH + d);
            check_put(&want, d, value / sum);
        }
        run(&p);
        check_close("out", &p.out, &want, check_tolerance(F32));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_other_way), CHECK_TEST(test_company),
                                       CHECK_TEST(test_widest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
