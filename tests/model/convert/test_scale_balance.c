/* Balancing changes no product of factors and leaves none larger than the other. */
#include "model/convert/pieces.h"
#include "tests/support/draw.h"
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { C = 5, H = 2, DN = 3, DR = 4, DV = 2, R = 3, RQ = 4, KV = H * (DN + DV), Q = H * (DN + DR) };

static double *random_matrix(int64_t rows, int64_t columns, double size)
{
    static uint64_t state = 3;
    double *m = matrix_new(rows, columns);
    for (int64_t i = 0; i < rows * columns; i++) m[i] = size * (draw_uniform(&state) - 0.5);
    return m;
}

/* sum_i a[i] b[i], with steps. */
static double dot(const double *a, int64_t step_a, const double *b, int64_t step_b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i * step_a] * b[i * step_b];
    return sum;
}

/* What attention makes of a layer: latent to keys and values, queries of the latent, rotary logits before
 * rotation (per pair, both of the numbers that a rotation needs). */
static void products(const mla_layer *l, const dims *d, double *out)
{
    for (int64_t i = 0; i < KV; i++)
        for (int64_t j = 0; j < C; j++) *out++ = dot(l->wkv_b + i * R, 1, l->wkv_a + j, C, R);
    for (int64_t i = 0; i < KV; i++) *out++ = l->bkv_a ? dot(l->wkv_b + i * R, 1, l->bkv_a, 1, R) : 0;
    double *q = calloc(Q * C, sizeof *q); /* whole queries */
    for (int64_t i = 0; i < Q; i++)
        for (int64_t j = 0; j < C; j++)
            q[i * C + j] = d->Rq ? dot(l->wq_b + i * RQ, 1, l->wq_a + j, C, RQ) : l->wq[i * C + j];
    const double *bias = d->Rq ? l->bq_b : l->bq;
    for (int64_t h = 0; h < H; h++)
        for (int64_t p = 0; p < DR; p += 2)
            for (int64_t a = 0; a < 2; a++)
                for (int64_t b = 0; b < 2; b++) {
                    const int64_t row = h * (DN + DR) + DN + p + a, key = R + p + b;
                    for (int64_t i = 0; i < C; i++)
                        for (int64_t j = 0; j < C; j++) *out++ = q[row * C + i] * l->wkv_a[key * C + j];
                    *out++ = bias ? bias[row] * l->bkv_a[key] : 0;
                }
    for (int64_t h = 0; h < H; h++)
        for (int64_t i = 0; i < DN * C; i++) *out++ = q[h * (DN + DR) * C + i];
    free(q);
}
enum { PRODUCTS = KV * C + KV + H * DR / 2 * 4 * (C * C + 1) + H * DN * C };

static double size_of(const double *a, int64_t step, int64_t n)
{
    return sqrt(dot(a, step, a, step, n) / (double)n);
}

static void check(bool factored, bool biased)
{
    const dims d = {
        .kind = ATTENTION_MLA, .C = C, .H = H, .Dn = DN, .Dr = DR, .Dv = DV, .R = R, .Rq = factored ? RQ : 0};
    mla_layer l = {.wkv_a = random_matrix(R + DR, C, 300), .wkv_b = random_matrix(KV, R, 0.01)};
    if (biased) l.bkv_a = random_matrix(R + DR, 1, 1);
    if (factored)
        l.wq_a = random_matrix(RQ, C, 0.001), l.wq_b = random_matrix(Q, RQ, 7),
        l.bq_b = biased ? random_matrix(Q, 1, 1) : NULL;
    else
        l.wq = random_matrix(Q, C, 0.1), l.bq = biased ? random_matrix(Q, 1, 1) : NULL;
    memset(l.wkv_a + C, 0, sizeof(double) * C); /* a dead dimension stays one */
    double before[PRODUCTS], after[PRODUCTS];
    products(&l, &d, before);
    mla_layer_balance(&l, &d);
    products(&l, &d, after);
    for (int i = 0; i < PRODUCTS; i++)
        if (!(fabs(after[i] - before[i]) <= 1e-12 * (1 + fabs(before[i]))))
            fail_msg("product %d: %g, was %g", i, after[i], before[i]);
    for (int64_t r = 0; r < R; r += 2)
        assert_true(fabs(size_of(l.wkv_a + r * C, 1, C) / size_of(l.wkv_b + r, R, KV) - 1) < 1e-12);
    for (int64_t r = 0; factored && r < RQ; r++)
        assert_true(size_of(l.wq_a + r * C, 1, C) <
                    20 * size_of(l.wq_b + r, RQ, Q)); /* its rotary rows are balanced again */
    if (!factored) {
        double queries = 0;
        for (int64_t h = 0; h < H; h++)
            queries += dot(l.wq + (h * (DN + DR) + DN) * C, 1, l.wq + (h * (DN + DR) + DN) * C, 1, 2 * C);
        assert_true(fabs(size_of(l.wkv_a + R * C, 1, 2 * C) / sqrt(queries / (2 * C * H)) - 1) < 1e-12);
    }
    mla_layer_free(&l);
}

static void products_stay(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) check(kind & 1, kind & 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
