/* Decoding on a device where its kernel takes another way: units of one strip and of two, several units of a
 * sequence, tiles that are not full, ranges of positions that partial results are combined of, values of more
 * columns than a block has, rings of one stage, rows that do not start at whole vectors, every type of cache.
 * The oracle is the CPU's double version of the ops. Rows of the cache that are nobody's are NaN. */
#include "tests/support/check.h"
#include <math.h>

enum { SEQUENCES = 4 };

/* For MLA G is 0, D is R+Dr and Dv is R. */
typedef struct decode_case {
    int64_t H, G, D, Dv, page;
    struct {
        int64_t rows, length;
    } of[SEQUENCES];
} decode_case;
static const decode_case cases[] = {
    {4, 0, 7, 5, 4, {{1, 1}, {3, 7}, {2, 2}}},
    {20, 0, 48, 32, 16, {{1, 90}, {0, 3}, {5, 150}, {1, 16}}},
    {32, 0, 576, 512, 64, {{1, 200}, {1, 65}, {1, 256}}},
    {3, 0, 1088, 1024, 64, {{2, 70}}},
    {12, 0, 320, 256, 32, {{1, 33}, {3, 64}}},
    {8, 2, 64, 64, 64, {{40, 40}, {1, 130}, {17, 150}}},
    {6, 3, 20, 12, 8, {{1, 9}, {4, 30}}},
    {4, 4, 128, 128, 64, {{1, 300}}},
};
enum { NUM_CASES = sizeof cases / sizeof *cases };

typedef struct problem {
    tensor out, q, scratch;
    cached k, v;
    ragged r;
} problem;

/* A cache of `type` in which the sequences' positions have values and the other rows are NaN. */
static cached filled_cache(const ops *k, dtype type, const problem *p, int64_t pages, int64_t width,
                           uint64_t seed)
{
    const int64_t rows = pages * p->r.page;
    cached c = {.rows = check_tensor(type, "cache", rows, width)};
    if (type == F8) c.scale = check_tensor(F32, "scale", rows);
    int64_t count = 0;
    for (int64_t i = 0; i < p->r.sequences; i++) count += (int64_t)check_get(&p->r.length, i);
    tensor slot = check_tensor(I32, "slot", count), values = check_tensor(k->act, "values", count, width);
    int64_t n = 0;
    for (int64_t i = 0; i < p->r.sequences; i++)
        for (int64_t at = 0; at < (int64_t)check_get(&p->r.length, i); at++)
            check_put(&slot, n++,
                      check_get(&p->r.table, i * p->r.table.dim[1] + at / p->r.page) * (double)p->r.page +
                          (double)(at % p->r.page));
    check_fill(&values, seed, -1, 1);
    k->cache_write(&c, &values, &slot, k->stream);
    return c;
}

/* Pages are handed out from the last one on, one to every sequence in turn. */
static problem problem_of(const ops *k, const decode_case *c, dtype type)
{
    problem p = {.r = {.page = c->page}};
    int64_t most = 0, pages = 1; /* one is nobody's */
    for (int i = 0; i < SEQUENCES && c->of[i].length; i++) {
        const int64_t own = (c->of[i].length + c->page - 1) / c->page;
        most = own > most ? own : most;
        pages += own;
        p.r.longest = c->of[i].length > p.r.longest ? c->of[i].length : p.r.longest;
        p.r.N += c->of[i].rows;
        p.r.sequences++;
    }
    p.r.start = check_tensor(I32, "start", p.r.sequences + 1);
    p.r.length = check_tensor(I32, "length", p.r.sequences);
    p.r.table = check_tensor(I32, "table", p.r.sequences, most);
    check_put(&p.r.start, 0, 0);
    for (int64_t i = 0; i < p.r.sequences; i++) {
        check_put(&p.r.start, i + 1, check_get(&p.r.start, i) + (double)c->of[i].rows);
        check_put(&p.r.length, i, (double)c->of[i].length);
    }
    int64_t next = pages - 1;
    for (int64_t at = 0; at < most; at++)
        for (int64_t i = 0; i < p.r.sequences; i++)
            if (at * c->page < c->of[i].length) check_put(&p.r.table, i * most + at, (double)next--);
    p.q = check_tensor(k->act, "q", p.r.N, c->H, c->D);
    p.out = check_tensor(k->act, "out", p.r.N, c->H, c->Dv);
    check_fill(&p.q, 1, -2, 2);
    p.k = filled_cache(k, type, &p, pages, (c->G ? c->G : 1) * c->D, 2);
    if (c->G) p.v = filled_cache(k, type, &p, pages, c->G * c->Dv, 3);
    return p;
}

static void decode(const ops *k, problem *p, const decode_case *c, int64_t scratch)
{
    const double scale = pow((double)c->D, -0.5);
    p->scratch = check_tensor(k->real, "scratch", scratch);
    if (c->G)
        k->gqa_decode(&p->out, &p->q, &p->k, &p->v, &p->r, scale, &p->scratch, k->stream);
    else
        k->mla_decode(&p->out, &p->q, &p->k, &p->r, scale, &p->scratch, k->stream);
}

/* The same numbers for the double table, which reads caches of narrow types as they are. */
static cached oracle_cache(const cached *c)
{
    cached x = *c;
    if (c->rows.type == F32) x.rows = check_copy(&c->rows, F64);
    return x;
}

static void test_ways(void **state)
{
    (void)state;
    static const dtype types[] = {F32, BF16, F8};
    const ops *k, *exact = ops_cpu_f64();
    for (int i = 2; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++)
            for (int t = 0; t < 3; t++) {
                const decode_case *c = &cases[j];
                problem p = problem_of(k, c, types[t]), want = p;
                want.q = check_copy(&p.q, F64);
                want.out = check_copy(&p.out, F64);
                want.k = oracle_cache(&p.k);
                if (c->G) want.v = oracle_cache(&p.v);
                const int64_t least = c->H * (c->Dv + 2);
                decode(exact, &want, c, least);
                decode(k, &p, c, least);
                check_close("one range", &p.out, &want.out, check_tolerance(k->act));
                check_set(&p.out, NAN);
                decode(k, &p, c, 8 * p.r.N * least);
                check_close("several ranges", &p.out, &want.out, check_tolerance(k->act));
                const tensor before = check_copy(&p.out, k->act);
                decode(k, &p, c, 8 * p.r.N * least);
                check_equal("again", &p.out, &before);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_ways)};
    if (!check_table(2)) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
