/* Low rank in the metric of the attention, and the ridge regression of o_proj: against what they minimise. */
#include "model/convert/pieces.h"
#include "model/convert/refit.h"
#include "tests/support/draw.h"
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { C = 7, H = 4, G = 2, D = 4, ROPE = 2, KEYS = G * D - ROPE, N = 2 * G * D - ROPE, TOKENS = 60 };

static const dims shape = {.kind = ATTENTION_GQA, .C = C, .H = H, .G = G, .D = D};

static uint64_t state = 5;
static double *random_matrix(int64_t rows, int64_t columns)
{
    double *m = matrix_new(rows, columns);
    for (int64_t i = 0; i < rows * columns; i++) m[i] = draw_uniform(&state) - 0.5;
    return m;
}

typedef struct layer_case {
    double *h; /* (TOKENS,C+1) */
    double *s, *u, *query_gram, *joint, *gram;
    gqa_layer g;
} layer_case;

static layer_case case_new(void)
{
    layer_case c = {.h = random_matrix(TOKENS, C + 1), .s = matrix_new(C + 1, C + 1)};
    for (int t = 0; t < TOKENS; t++) c.h[t * (C + 1) + C] = 1;
    for (int t = 0; t < TOKENS; t++)
        for (int i = 0; i <= C; i++)
            for (int j = 0; j <= C; j++) c.s[i * (C + 1) + j] += c.h[t * (C + 1) + i] * c.h[t * (C + 1) + j];
    c.g = (gqa_layer){.wq = random_matrix(H * D, C + 1),
                      .wk = random_matrix(G * D, C + 1),
                      .wv = random_matrix(G * D, C + 1),
                      .wo = random_matrix(C, H * D)};
    for (int i = 0; i < G * D; i++) c.g.wk[i * (C + 1)] *= 5; /* far larger keys than values */
    double *keys = matrix_gram(c.g.wk, c.s, G * D, C + 1);
    c.query_gram = gqa_layer_query_grams(&shape, &c.g, c.s);
    rope_division whole = rope_uniform(&shape, D / 2);
    c.u = rope_rotation(&shape, ROPE, &whole, keys);
    rope_division_free(&whole);
    c.joint = gqa_layer_joint(&shape, &(dims){.Dr = ROPE}, &c.g, c.u, NULL);
    c.gram = matrix_gram(c.joint, c.s, N, C + 1);
    free(keys);
    return c;
}

static void case_free(layer_case *c)
{
    gqa_layer_free(&c->g);
    double *const all[] = {c->h, c->s, c->u, c->query_gram, c->joint, c->gram};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* row (n) = w (rows,columns) x */
static void apply(double *out, const double *w, const double *x, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        out[i] = 0;
        for (int j = 0; j < columns; j++) out[i] += w[i * columns + j] * x[j];
    }
}

/* What an error of the rank costs, token by token from the definitions: squared errors of the position-free
 * logits between all pairs of tokens, and of o_proj's output for every head's value. */
typedef struct cost {
    double logits, outputs;
} cost;

static cost cost_of(const layer_case *c, const double *down, const double *up, int rank)
{
    cost sum = {0, 0};
    double error[TOKENS][N], whole[N], latent[N];
    for (int t = 0; t < TOKENS; t++) {
        apply(whole, c->joint, c->h + t * (C + 1), N, C + 1);
        apply(latent, down, whole, rank, N);
        apply(error[t], up, latent, N, rank);
        for (int i = 0; i < N; i++) error[t][i] = whole[i] - (rank ? error[t][i] : 0);
    }
    for (int h = 0; h < H; h++) {
        const int group = h / (H / G);
        for (int t = 0; t < TOKENS; t++) {
            double q[D], key[D], out[C];
            for (int i = 0; i < D; i++) {
                key[i] = 0;
                for (int k = 0; k < KEYS; k++)
                    key[i] += c->u[(ROPE + k) * G * D + group * D + i] * error[t][k];
            }
            for (int other = 0; other < TOKENS; other++) {
                double logit = 0;
                apply(q, c->g.wq + h * D * (C + 1), c->h + other * (C + 1), D, C + 1);
                for (int i = 0; i < D; i++) logit += q[i] * key[i];
                sum.logits += logit * logit;
            }
            for (int i = 0; i < C; i++) {
                out[i] = 0;
                for (int j = 0; j < D; j++)
                    out[i] += c->g.wo[i * H * D + h * D + j] * error[t][KEYS + group * D + j];
                sum.outputs += out[i] * out[i];
            }
        }
    }
    return sum;
}

/* With both sides scaled to cost as much as each other when nothing is kept, no nearby choice and not the
 * principal components of the bare keys and values costs less. */
static void keeps_what_attention_needs(void **unused)
{
    (void)unused;
    layer_case c = case_new();
    const int rank = 5;
    double *down = matrix_new(rank, N), *up = matrix_new(N, rank), *other_down = matrix_new(rank, N),
           *other_up = matrix_new(N, rank);
    const cost nothing = cost_of(&c, down, up, 0);
    metric_axes(&shape, ROPE, rank, &c.g, c.u, c.query_gram, c.gram, down, up);
    const cost kept = cost_of(&c, down, up, rank);
    const double least = kept.logits / nothing.logits + kept.outputs / nothing.outputs;
    lowrank_joint_axes(&shape, ROPE, rank, BALANCE_NORM, c.gram, other_down, other_up);
    const cost plain = cost_of(&c, other_down, other_up, rank);
    assert_true(least < plain.logits / nothing.logits + plain.outputs / nothing.outputs);
    for (int try = 0; try < 20; try++) {
        double *push = random_matrix(N, rank);
        for (int i = 0; i < N * rank; i++) push[i] = up[i] * (1 + 0.2 * push[i]);
        const cost near = cost_of(&c, down, push, rank);
        assert_true(near.logits / nothing.logits + near.outputs / nothing.outputs > least * (1 - 1e-3));
        for (int i = 0; i < N * rank; i++) push[i] = down[i] * (1 + 0.2 * (push[i] / up[i] - 1));
        const cost other = cost_of(&c, push, up, rank);
        assert_true(other.logits / nothing.logits + other.outputs / nothing.outputs > least * (1 - 1e-3));
        free(push);
    }
    double *const all[] = {down, up, other_down, other_up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    case_free(&c);
}

static void expect_identity(const double *up, const double *down, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++) sum += up[i * n + k] * down[k * n + j];
            if (!(fabs(sum - (i == j)) < 1e-8)) fail_msg("(%d,%d): %g", i, j, sum);
        }
}

/* The only group, rotary as a whole: no key is left for the latent. */
static void no_keys_without_rotation(void **unused)
{
    (void)unused;
    const dims one = {.kind = ATTENTION_GQA, .C = C, .H = H, .G = 1, .D = D, .rope = {.theta = 100}};
    layer_case c = case_new();
    rope_division sets = rope_uniform(&one, 1);
    double *keys = matrix_gram(c.g.wk, c.s, D, C + 1), *queries = gqa_layer_query_grams(&one, &c.g, c.s),
           *u = rope_rotation(&one, D, &sets, keys),
           *joint = gqa_layer_joint(&one, &(dims){.Dr = D}, &c.g, u, NULL),
           *gram = matrix_gram(joint, c.s, D, C + 1), *down = matrix_new(D, D), *up = matrix_new(D, D);
    metric_axes(&one, D, D, &c.g, u, queries, gram, down, up);
    expect_identity(up, down, D);
    rope_division_free(&sets);
    double *const all[] = {keys, queries, u, joint, gram, down, up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    case_free(&c);
}

static void full_rank_loses_nothing(void **unused)
{
    (void)unused;
    layer_case c = case_new();
    double *down = matrix_new(N, N), *up = matrix_new(N, N), *q_down = matrix_new(H * D, H * D),
           *q_up = matrix_new(H * D, H * D);
    metric_axes(&shape, ROPE, N, &c.g, c.u, c.query_gram, c.gram, down, up);
    metric_query_axes(&shape, H * D, &c.g, c.s, q_down, q_up);
    expect_identity(up, down, N);
    expect_identity(q_up, q_down, H * D);
    const energy_shares kept = energy_shares_of(&shape, ROPE, N, N, c.gram, down, up, 1);
    assert_true(fabs(kept.keys - 1) < 1e-10 && fabs(kept.values - 1) < 1e-10);
    double *const all[] = {down, up, q_down, q_up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    case_free(&c);
}

/* The shares, token by token from their definition: for all of the latent, and for all of it but the
 * dimension that a constant channel takes. */
static void energy_is_what_the_latent_gives_back(void **unused)
{
    (void)unused;
    enum { RANK = 5 };
    layer_case c = case_new();
    double *down = matrix_new(RANK, N), *up = matrix_new(N, RANK), before = 1;
    metric_axes(&shape, ROPE, RANK, &c.g, c.u, c.query_gram, c.gram, down, up);
    for (int used = RANK; used > 0; used--) {
        double all[2] = {0}, lost[2] = {0}, kept[2] = {0}, rope = 0;
        for (int t = 0; t < TOKENS; t++) {
            double whole[N], latent[RANK], key[G * D];
            apply(whole, c.joint, c.h + t * (C + 1), N, C + 1);
            apply(latent, down, whole, used, N);
            apply(key, c.g.wk, c.h + t * (C + 1), G * D, C + 1);
            for (int i = 0; i < N; i++) {
                double back = 0;
                for (int r = 0; r < used; r++) back += up[i * RANK + r] * latent[r];
                all[i >= KEYS] += whole[i] * whole[i];
                lost[i >= KEYS] += (whole[i] - back) * (whole[i] - back);
                kept[i >= KEYS] += back * back;
            }
            for (int i = 0; i < ROPE; i++) {
                double x = 0;
                for (int k = 0; k < G * D; k++) x += c.u[i * G * D + k] * key[k];
                rope += x * x;
            }
        }
        const energy_shares found = energy_shares_of(&shape, ROPE, RANK, used, c.gram, down, up, rope);
        assert_true(fabs(found.keys - (1 - lost[0] / (all[0] + rope))) < 1e-10);
        assert_true(fabs(found.values - (1 - lost[1] / all[1])) < 1e-10);
        assert_true(fabs(found.values - kept[1] / all[1]) < 1e-8); /* kept and lost add up */
        assert_true(found.values > 0 && found.values < before);
        before = found.values;
    }
    free(down);
    free(up);
    case_free(&c);
}

/* What an error of the queries costs: squared errors of all logits with the original's keys, token by token.
 */
static double query_cost(const layer_case *c, const double *down, const double *up, int rank)
{
    double sum = 0, q[H * D], latent[H * D], back[H * D], k[G * D];
    for (int t = 0; t < TOKENS; t++) {
        double h[C + 1];
        memcpy(h, c->h + t * (C + 1), sizeof h);
        h[C] = 0; /* the bias stays whole */
        apply(q, c->g.wq, h, H * D, C + 1);
        apply(latent, down, q, rank, H * D);
        apply(back, up, latent, H * D, rank);
        for (int other = 0; other < TOKENS; other++) {
            apply(k, c->g.wk, c->h + other * (C + 1), G * D, C + 1);
            for (int head = 0; head < H; head++) {
                double logit = 0;
                for (int i = 0; i < D; i++)
                    logit += (q[head * D + i] - back[head * D + i]) * k[head / (H / G) * D + i];
                sum += logit * logit;
            }
        }
    }
    return sum;
}

/* No nearby choice and not the principal components of the bare queries costs less. */
static void queries_keep_what_keys_ask(void **unused)
{
    (void)unused;
    enum { RANK = 4, Q = H * D };
    layer_case c = case_new();
    double *down = matrix_new(RANK, Q), *up = matrix_new(Q, RANK), *bare = matrix_gram(c.g.wq, c.s, Q, C + 1);
    metric_query_axes(&shape, RANK, &c.g, c.s, down, up);
    const double least = query_cost(&c, down, up, RANK);
    double *axes = lowrank_principal_axes(Q, RANK, bare), *back = matrix_transposed(axes, RANK, Q);
    assert_true(least < query_cost(&c, axes, back, RANK) && least > 0);
    for (int try = 0; try < 20; try++) {
        double *push = random_matrix(Q, RANK);
        for (int i = 0; i < Q * RANK; i++) push[i] = up[i] * (1 + 0.2 * push[i]);
        assert_true(query_cost(&c, down, push, RANK) > least * (1 - 1e-3));
        for (int i = 0; i < Q * RANK; i++) push[i] = down[i] * (1 + 0.2 * (push[i] / up[i] - 1));
        assert_true(query_cost(&c, push, up, RANK) > least * (1 - 1e-3));
        free(push);
    }
    double *const all[] = {down, up, bare, axes, back};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    case_free(&c);
}

/* At the minimum of |Y - X d|^2 + s |d|^2 the gradient X^T (X d - Y) + s d is zero, with the same s for all
 * elements; the error that is reported is that of d. */
static void refit_is_at_its_minimum(void **unused)
{
    (void)unused;
    enum { WIDTH = 6, OUT = 3 };
    refit r;
    refit_init(&r, WIDTH, OUT);
    double *x = random_matrix(TOKENS, WIDTH), *y = random_matrix(TOKENS, OUT), strength = NAN, error = 0;
    refit_clear(&r);
    refit_add(&r, x, y, TOKENS / 2);
    refit_add(&r, x + TOKENS / 2 * WIDTH, y + TOKENS / 2 * OUT, TOKENS / 2);
    const refit_result result = refit_solve(&r);
    double lacks[TOKENS][OUT];
    for (int t = 0; t < TOKENS; t++)
        for (int o = 0; o < OUT; o++) {
            lacks[t][o] = y[t * OUT + o];
            for (int i = 0; i < WIDTH; i++) lacks[t][o] -= x[t * WIDTH + i] * result.delta[o * WIDTH + i];
            error += lacks[t][o] * lacks[t][o];
        }
    for (int i = 0; i < WIDTH; i++)
        for (int o = 0; o < OUT; o++) {
            double slope = 0;
            for (int t = 0; t < TOKENS; t++) slope += x[t * WIDTH + i] * lacks[t][o];
            const double s = slope / result.delta[o * WIDTH + i];
            if (isnan(strength)) strength = s;
            assert_true(fabs(s / strength - 1) < 1e-8);
        }
    assert_true(strength > 0);
    assert_true(fabs(result.after / error - 1) < 1e-10 && result.after < r.square);
    free(result.delta);
    free(x);
    free(y);
    refit_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_attention_needs), cmocka_unit_test(energy_is_what_the_latent_gives_back),
        cmocka_unit_test(queries_keep_what_keys_ask), cmocka_unit_test(full_rank_loses_nothing),
        cmocka_unit_test(no_keys_without_rotation),   cmocka_unit_test(refit_is_at_its_minimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
