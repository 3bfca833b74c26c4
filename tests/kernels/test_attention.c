/* Attention against a plain O(T^2) one in double, forward and backward, and backward against differences:
 * sizes around those of the tiles, documents, groups, one position, wide heads, and views of every kind; and
 * the last queries alone, with the keys of all positions. Every implementation that a device offers, at the
 * sizes that it says it can do. */
#include "tests/support/check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct attention_case {
    int64_t B, T, H, G, D, Dv;
    int64_t document; /* about as many positions in a document; 0: one document */
    bool aligned;     /* to 16 bytes in every storage */
} attention_case;
static const attention_case cases[] = {
    {1, 1, 1, 1, 1, 1, 0, false},      {2, 1, 4, 2, 3, 5, 0, false},      {2, 9, 4, 2, 5, 3, 4, false},
    {1, 64, 2, 2, 8, 4, 0, false},     {2, 65, 2, 1, 3, 7, 20, false},    {1, 257, 3, 3, 6, 4, 0, false},
    {2, 300, 2, 1, 5, 7, 67, false},   {1, 520, 2, 2, 4, 4, 255, false},  {1, 600, 4, 1, 4, 6, 1, false},
    {1, 70, 1, 1, 576, 512, 0, false}, {5, 130, 3, 3, 16, 8, 100, false}, {1, 140, 2, 2, 192, 128, 60, true},
    {2, 130, 4, 2, 64, 32, 0, true},   {2, 520, 4, 4, 16, 8, 200, true},  {1, 97, 2, 2, 128, 64, 40, true},
    {1, 130, 2, 1, 96, 64, 50, true},  {1, 70, 2, 1, 320, 256, 30, true}, {1, 70, 1, 1, 300, 250, 0, false},
};
enum { NUM_CASES = sizeof cases / sizeof *cases, CHOICES = ATTENTION_UNFUSED + 1 };

typedef struct problem {
    const ops *k;
    double scale;
    tensor whole[8]; /* what the eight views below are parts of */
    tensor out, q, key, v, dq, dk, dv, dout;
    tensor lse, first;
} problem;

/* What lies before the columns of a view, and after them. */
static int64_t before(attention_case c) { return c.aligned ? 8 : 2; }
static int64_t after(attention_case c) { return c.aligned ? 8 : 1; }

/* The middle columns of a (B,T,heads,...) tensor, or heads first in memory: (B,heads,T,...). */
static tensor view_of(tensor *whole, dtype type, const char *name, bool heads_first, attention_case c,
                      int64_t heads, int64_t width)
{
    const int64_t all = before(c) + width + after(c);
    if (!heads_first) {
        *whole = check_tensor(type, name, c.B, c.T, heads, all);
        return tensor_slice(whole, before(c), width);
    }
    *whole = check_tensor(type, name, c.B, heads, c.T, all);
    tensor view = tensor_slice(whole, before(c), width);
    const int64_t dim = view.dim[1], stride = view.stride[1];
    view.dim[1] = view.dim[2], view.stride[1] = view.stride[2];
    view.dim[2] = dim, view.stride[2] = stride;
    return view;
}

static problem problem_of(const ops *k, attention_case c)
{
    problem p = {.k = k, .scale = 1 / sqrt((double)c.D)};
    p.out = view_of(&p.whole[0], k->act, "out", false, c, c.H, c.Dv);
    p.q = view_of(&p.whole[1], k->act, "q", false, c, c.H, c.D);
    p.key = view_of(&p.whole[2], k->act, "k", true, c, c.G, c.D);
    p.v = view_of(&p.whole[3], k->act, "v", false, c, c.G, c.Dv);
    p.dq = view_of(&p.whole[4], k->act, "dq", true, c, c.H, c.D);
    p.dk = view_of(&p.whole[5], k->act, "dk", false, c, c.G, c.D);
    p.dv = view_of(&p.whole[6], k->act, "dv", true, c, c.G, c.Dv);
    p.dout = view_of(&p.whole[7], k->act, "dout", false, c, c.H, c.Dv);
    p.lse = check_tensor(k->real, "lse", c.B, c.H, c.T);
    p.first = check_tensor(I32, "first", c.B, c.T);
    check_fill(&p.q, 1, -2, 2);
    check_fill(&p.key, 2, -2, 2);
    check_fill(&p.v, 3, -1, 1);
    check_fill(&p.dout, 4, -1, 1);
    for (int64_t b = 0; b < c.B; b++)
        for (int64_t t = 0, from = 0; t < c.T; t++) {
            if (c.document && (t + 3 * b) % c.document == 0) from = t;
            check_put(&p.first, b * c.T + t, (double)from);
        }
    return p;
}

/* The tables, those of a device once for each implementation; NULL past the end. */
static attention_choice choice_of(int i)
{
    return i < 2 ? ATTENTION_AUTO : (attention_choice)((i - 2) % CHOICES);
}
static const ops *attention_table(int i)
{
    static const ops *made[2][CHOICES];
    if (i < 2) return check_table(i);
    const int storage = (i - 2) / CHOICES;
    const ops *k = check_table(2 + storage);
    if (!k) return NULL;
    if (!made[storage][choice_of(i)]) made[storage][choice_of(i)] = ops_cuda(k->device, k->act, choice_of(i));
    return made[storage][choice_of(i)];
}

static attention_choice only; /* of the implementations of a device; AUTO: all */

/* Whether table i can do a case with S keys; on a device it says so in a sentence. What AUTO picks is run
 * under its own name, so that a small case and those of whole vectors are enough of it. */
static bool offered_keys(int i, attention_case c, int64_t S)
{
    const ops *k = attention_table(i);
    if (!k->device) return true;
    if (only != ATTENTION_AUTO && choice_of(i) != only) return false;
    const attention_shape shape = {c.B, c.T, S, c.H, c.G, c.D, c.Dv, c.aligned, false};
    attention_choice picked = ATTENTION_AUTO;
    message why = {{0}};
    const status s = attention_pick(choice_of(i), k->device, k->act, &shape, &picked, &why);
    if (s != OK)
        assert_true(s == ERR_USAGE && choice_of(i) != ATTENTION_AUTO && choice_of(i) != ATTENTION_UNFUSED);
    else
        assert_true(picked != ATTENTION_AUTO && (choice_of(i) == ATTENTION_AUTO || choice_of(i) == picked));
    assert_non_null(strstr(why.text, "attention"));
    return s == OK && (choice_of(i) != ATTENTION_AUTO || S < 10 || c.aligned);
}

static bool offered(int i, attention_case c) { return offered_keys(i, c, c.T); }

static void forward(problem *p)
{
    p->k->attention_forward(&p->out, &p->lse, &p->q, &p->key, &p->v, &p->first, p->scale, p->k->stream);
}

static void backward(problem *p)
{
    p->k->attention_backward(&p->dq, &p->dk, &p->dv, &p->dout, &p->out, &p->lse, &p->q, &p->key, &p->v,
                             &p->first, p->scale, p->k->stream);
}

/* The plain attention: contiguous doubles. */
typedef struct plain {
    tensor out, lse, dq, dk, dv;
} plain;

static plain plain_of(problem *p)
{
    const tensor q = check_copy(&p->q, F64), k = check_copy(&p->key, F64), v = check_copy(&p->v, F64),
                 dout = check_copy(&p->dout, F64);
    const int64_t B = q.dim[0], T = q.dim[1], H = q.dim[2], G = k.dim[2], D = q.dim[3], Dv = v.dim[3];
    plain r = {check_copy(&p->out, F64), check_copy(&p->lse, F64), check_copy(&p->dq, F64),
               check_copy(&p->dk, F64), check_copy(&p->dv, F64)};
    check_set(&r.out, 0);
    check_set(&r.dq, 0);
    check_set(&r.dk, 0);
    check_set(&r.dv, 0);
    double *weight = malloc((size_t)T * sizeof *weight), *dweight = malloc((size_t)T * sizeof *dweight);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++) {
                const int64_t g = h / (H / G), at = (b * T + t) * H + h,
                              from = (int64_t)check_get(&p->first, b * T + t);
                const double *Q = (double *)q.data + at * D, *dO = (double *)dout.data + at * Dv;
                double *O = (double *)r.out.data + at * Dv, *dQ = (double *)r.dq.data + at * D;
                double highest = -INFINITY, sum = 0, delta = 0;
                for (int64_t s = from; s <= t; s++) {
                    const double *K = (double *)k.data + ((b * T + s) * G + g) * D;
                    weight[s] = 0;
                    for (int64_t d = 0; d < D; d++) weight[s] += p->scale * Q[d] * K[d];
                    highest = fmax(highest, weight[s]);
                }
                for (int64_t s = from; s <= t; s++) sum += exp(weight[s] - highest);
                check_put(&r.lse, (b * H + h) * T + t, highest + log(sum));
                for (int64_t s = from; s <= t; s++) {
                    const double *V = (double *)v.data + ((b * T + s) * G + g) * Dv;
                    double *dV = (double *)r.dv.data + ((b * T + s) * G + g) * Dv;
                    weight[s] = exp(weight[s] - highest) / sum;
                    dweight[s] = 0;
                    for (int64_t d = 0; d < Dv; d++) {
                        O[d] += weight[s] * V[d];
                        dV[d] += weight[s] * dO[d];
                        dweight[s] += dO[d] * V[d];
                    }
                    delta += weight[s] * dweight[s];
                }
                for (int64_t s = from; s <= t; s++) {
                    const double *K = (double *)k.data + ((b * T + s) * G + g) * D,
                                 ds = p->scale * weight[s] * (dweight[s] - delta);
                    double *dK = (double *)r.dk.data + ((b * T + s) * G + g) * D;
                    for (int64_t d = 0; d < D; d++) {
                        dQ[d] += ds * K[d];
                        dK[d] += ds * Q[d];
                    }
                }
            }
    free(weight);
    free(dweight);
    return r;
}

/* The NaNs beside the views are there still. */
static void check_beside(const problem *p, attention_case c)
{
    for (int i = 0; i < 8; i++) {
        const tensor *whole = &p->whole[i];
        const tensor left = tensor_slice(whole, 0, before(c)),
                     right = tensor_slice(whole, whole->dim[3] - after(c), after(c));
        for (int64_t e = 0; e < tensor_numel(&left); e++) assert_true(isnan(check_get(&left, e)));
        for (int64_t e = 0; e < tensor_numel(&right); e++) assert_true(isnan(check_get(&right, e)));
    }
}

static void test_plain(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = attention_table(i)); i++)
        for (int j = 0; j < NUM_CASES; j++) {
            if (!offered(i, cases[j])) continue;
            problem p = problem_of(k, cases[j]);
            const plain want = plain_of(&p);
            /* bf16: weights of keys are rounded before they meet the values, and the result is. Behind dq and
             * dk is one rounding more, that of out, in a difference that is smaller than its parts. */
            const double tolerance = check_tolerance(k->act), looser = (k->act == BF16 ? 2 : 1) * tolerance;
            forward(&p);
            check_close("out", &p.out, &want.out, tolerance);
            check_close("lse", &p.lse, &want.lse, check_tolerance(k->real));
            for (int twice = 0; twice < 2; twice++) { /* written, not added to */
                backward(&p);
                check_close("dv", &p.dv, &want.dv, tolerance);
                if (cases[j].document == 1 ||
                    cases[j].T == 1) { /* nothing to choose from: no gradient but rounding */
                    assert_true(check_dot(&p.dq, &p.dq) <= 1e-9 && check_dot(&p.dk, &p.dk) <= 1e-9);
                    continue;
                }
                check_close("dq", &p.dq, &want.dq, looser);
                check_close("dk", &p.dk, &want.dk, looser);
            }
            check_beside(&p, cases[j]);
        }
}

/* The last T of the positions of a (B,positions,...) tensor. */
static tensor last_positions(const tensor *t, int64_t T)
{
    tensor last = *t;
    last.data = (char *)t->data + (t->dim[1] - T) * t->stride[1] * dtype_bytes(t->type);
    last.dim[1] = T;
    return last;
}

/* The last T queries of `full`, whose out and lse are there, with all its keys. */
static void check_last(const problem *full, attention_case c, int64_t T, bool bits)
{
    const int64_t past = c.T - T;
    c.T = T;
    problem p = problem_of(full->k, c);
    p.q = last_positions(&full->q, T);
    p.key = full->key;
    p.v = full->v;
    const tensor first = last_positions(&full->first, T), out = last_positions(&full->out, T);
    p.first = check_copy(&first, I32);
    tensor lse = check_copy(&p.lse, p.lse.type);
    for (int64_t row = 0; row < c.B * c.H * T; row++)
        check_put(&lse, row, check_get(&full->lse, row / T * (past + T) + past + row % T));
    forward(&p);
    if (bits) {
        check_equal("out of the last", &p.out, &out);
        check_equal("lse of the last", &p.lse, &lse);
    } else {
        check_close("out of the last", &p.out, &out, check_tolerance(full->k->act));
        check_close("lse of the last", &p.lse, &lse, check_tolerance(full->k->real));
    }
    check_beside(&p, c);
}

/* More keys than queries: the rows of the whole forward pass. A row of flash has the same bits wherever its
 * tile begins; on the CPU it has where tiles begin at the same positions. */
static void test_past(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = attention_table(i)); i++)
        for (int j = 1; j < NUM_CASES; j++) {
            const attention_case c = cases[j];
            const int64_t queries[] = {1, c.T / 3, c.T / 2, c.T - 1, c.T - 64};
            problem full = problem_of(k, c);
            bool computed = false;
            for (int n = 0; n < 5; n++) {
                const int64_t T = queries[n];
                attention_case last = c;
                last.T = T;
                if (T < 1 || !offered_keys(i, last, c.T) || !offered(i, c)) continue;
                if (!computed) forward(&full);
                computed = true;
                check_last(&full, c, T, k->device ? choice_of(i) == ATTENTION_FLASH : (c.T - T) % 64 == 0);
            }
        }
}

static double loss(void *context)
{
    problem *p = context;
    forward(p);
    return check_dot(&p->dout, &p->out);
}

static void test_gradient(void **state)
{
    (void)state;
    static const attention_case few[] = {{2, 9, 4, 2, 5, 3, 4, false}, {1, 70, 2, 1, 4, 3, 30, false}};
    for (int j = 0; j < 2; j++) {
        problem p = problem_of(ops_cpu_f64(), few[j]);
        forward(&p);
        backward(&p);
        check_gradient("q", &p.q, &p.dq, loss, &p);
        check_gradient("k", &p.key, &p.dk, loss, &p);
        check_gradient("v", &p.v, &p.dv, loss, &p);
    }
}

/* Scores in the thousands, rising and falling along the row: nothing overflows, each row is all but
 * one-hot. */
static void test_large_scores(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = attention_table(i)); i++) {
        static const attention_case narrow = {1, 520, 1, 1, 1, 2, 0, false};
        if (!offered(i, narrow)) continue;
        problem p = problem_of(k, narrow);
        p.scale = 1;
        for (int64_t t = 0; t < 520; t++) {
            check_put(&p.q, t, 16);
            check_put(&p.key, t, (double)((t % 2 ? t : 520 - t) * 8));
        }
        const plain want = plain_of(&p);
        forward(&p);
        backward(&p);
        check_close("out", &p.out, &want.out, check_tolerance(k->act));
        check_close("lse", &p.lse, &want.lse, check_tolerance(k->real));
        check_close("dv", &p.dv, &want.dv, check_tolerance(k->act));
    }
}

static void both(void *context)
{
    forward(context);
    backward(context);
}

/* One pair and many: both ways of dividing the backward pass, which must agree to the bit. */
static void test_threads(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; i < 2 && (k = check_table(i)); i++)
        for (int j = 2; j < NUM_CASES; j++) {
            problem p = problem_of(k, cases[j]);
            check_threads(both, &p, 5, (const tensor *const[]){&p.out, &p.lse, &p.dq, &p.dk, &p.dv});
        }
}

/* The same bits run after run; each implementation of a device but cuDNN, of which that is asked where AUTO
 * picks it: by name it may be had where it does not repeat. */
static void test_repeated(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 2; (k = attention_table(i)); i++)
        for (int j = 4; j < NUM_CASES; j += 4) {
            if (choice_of(i) == ATTENTION_CUDNN || !offered(i, cases[j])) continue;
            problem p = problem_of(k, cases[j]), again = problem_of(k, cases[j]);
            both(&p);
            both(&again);
            check_equal("out again", &again.out, &p.out);
            check_equal("lse again", &again.lse, &p.lse);
            check_equal("dq again", &again.dq, &p.dq);
            check_equal("dk again", &again.dk, &p.dk);
            check_equal("dv again", &again.dv, &p.dv);
        }
}

static void falling_first(void *context)
{
    problem *p = context;
    check_put(&p->first, 5, 2);
    check_put(&p->first, 6, 1);
    forward(p);
}

static void odd_groups(void *context)
{
    problem *p = context;
    p->key.dim[2] = p->v.dim[2] = 3;
    forward(p);
}

static void fewer_keys(void *context)
{
    problem *p = context;
    p->key.dim[1] = p->v.dim[1] = 8;
    forward(p);
}

static void backward_of_the_last(void *context)
{
    problem *p = context;
    const problem full = *p;
    *p = problem_of(p->k, (attention_case){1, 7, 4, 4, 5, 3, 0, false});
    p->key = full.key, p->v = full.v;
    backward(p);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    problem p = problem_of(ops_cpu_f32(), (attention_case){1, 9, 4, 4, 5, 3, 0, false});
    check_stops(falling_first, &p, ERR_BUG, "first[0][6] is 1 after 2");
    check_stops(odd_groups, &p, ERR_BUG, "4 query heads for 3 key heads");
    check_stops(fewer_keys, &p, ERR_BUG, "9 queries for 8 keys");
    check_stops(backward_of_the_last, &p, ERR_BUG, "7 queries for 9 keys");
}

int main(int count, char **words)
{
    if (count > 1 && strcmp(words[1], "cudnn") == 0) only = ATTENTION_CUDNN;
    if (count > 1 && strcmp(words[1], "flash") == 0) only = ATTENTION_FLASH;
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_plain),        CHECK_TEST(test_past),    CHECK_TEST(test_gradient),
        CHECK_TEST(test_large_scores), CHECK_TEST(test_threads), CHECK_TEST(test_repeated),
        CHECK_TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
