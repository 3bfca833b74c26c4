/* The division of the frequencies, against the logits themselves: over all queries, keys and distances no
 * other one leaves a smaller error. */
#include "model/convert/pieces.h"
#include "tests/support/draw.h"
#include <complex.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { H = 4, G = 2, D = 16, HALF = D / 2, ROPE = 8, STEP = D / ROPE, N = G * D, TOKENS = 10, FAR = 8192 };

static const dims shape = {.kind = ATTENTION_GQA, .H = H, .G = G, .D = D, .rope = {.theta = 300}};

typedef double complex features[HALF];

/* Every token is there with its conjugate, so that real and imaginary parts are not correlated. */
static features query[TOKENS][H], key[TOKENS][G];

static double noise(void)
{
    static uint64_t state = 11;
    return draw_uniform(&state) - 0.5;
}

/* Features of uneven size, alike over the groups, so that some are worth more than others. */
static void make_tokens(void)
{
    for (int t = 0; t < TOKENS; t += 2)
        for (int i = 0; i < HALF; i++) {
            const double complex shared = CMPLX(noise(), noise());
            for (int h = 0; h < H; h++) query[t][h][i] = (CMPLX(noise(), noise())) * (1 + h + i % 3);
            for (int g = 0; g < G; g++)
                key[t][g][i] = (shared + 0.5 * (CMPLX(noise(), noise()))) * (i == 5 ? 4 : 1);
            for (int h = 0; h < H; h++) query[t + 1][h][i] = conj(query[t][h][i]);
            for (int g = 0; g < G; g++) key[t + 1][g][i] = conj(key[t][g][i]);
        }
}

/* Adds v v^T of the real vector (re, im) to a Gram matrix with rows of `ld`. */
static void gram_of_features(double *gram, int ld, const features *v, int groups)
{
    double x[N];
    for (int g = 0; g < groups; g++)
        for (int i = 0; i < HALF; i++) x[g * D + i] = creal(v[g][i]), x[g * D + HALF + i] = cimag(v[g][i]);
    for (int a = 0; a < groups * D; a++)
        for (int b = 0; b < groups * D; b++) gram[a * ld + b] += x[a] * x[b];
}

static double key_gram[N * N], queries[H * D * D];

static int set_up(void **state)
{
    (void)state;
    make_tokens();
    for (int t = 0; t < TOKENS; t++) {
        gram_of_features(key_gram, N, key[t], G);
        for (int h = 0; h < H; h++) gram_of_features(queries + h * D * D, D, &query[t][h], 1);
    }
    return 0;
}

/* What one row of the axes takes of a vector: the groups from `first` on. */
static double complex taken(const double *row, const features *v, int first, int groups)
{
    double complex sum = 0;
    for (int g = 0; g < groups; g++)
        for (int i = 0; i < HALF; i++) sum += row[(first + g) * D + i] * v[g][i];
    return sum;
}

/* The definition: sum over heads, queries, keys and distances of the squared modulus of what the logit lacks.
 */
static double lost(const rope_division *division)
{
    double *u = rope_rotation(&shape, ROPE, division, key_gram), frequency[HALF], total = 0, sum = 0;
    rope_frequencies(&shape.rope, D, frequency);
    for (int t = 0; t < FAR; t++) total += 1.0 / (1 + t);
    for (int t = 0; t < FAR; t++) {
        double complex turn[HALF];
        for (int i = 0; i < HALF; i++) turn[i] = cexp(CMPLX(0, frequency[i] * t)) - 1;
        for (int h = 0; h < H; h++)
            for (int a = 0; a < TOKENS; a++)
                for (int b = 0; b < TOKENS; b++) {
                    const int group = h / (H / G);
                    double complex z = 0;
                    for (int i = 0; i < HALF; i++) z += conj(query[a][h][i]) * key[b][group][i] * turn[i];
                    for (int p = 0; p < ROPE / 2; p++)
                        z -= conj(taken(u + 2 * p * N, &query[a][h], group, 1)) *
                             taken(u + 2 * p * N, key[b], 0, G) * turn[p * STEP];
                    sum += (creal(z) * creal(z) + cimag(z) * cimag(z)) / (1 + t);
                }
    }
    free(u);
    return sum / total;
}

static void axes_are_orthonormal(void **state)
{
    (void)state;
    rope_set mixed[] = {{0, 2}, {2, 4}, {6, 2}};
    const rope_division division = {.set = mixed, .sets = 3};
    double *u = rope_rotation(&shape, ROPE, &division, key_gram);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++) sum += u[i * N + k] * u[j * N + k];
            if (!(fabs(sum - (i == j)) < 1e-12)) fail_msg("(%d,%d): %g", i, j, sum);
        }
    free(u);
}

/* All divisions of the frequencies from `from` on into sets of STEP, 2 STEP, 4 STEP. */
static double least_of_all(rope_set *sets, int64_t n, int64_t from)
{
    const rope_division division = {.set = sets, .sets = n};
    if (from == HALF) return lost(&division);
    double least = INFINITY;
    for (int64_t count = STEP; from + count <= HALF; count *= 2) {
        sets[n] = (rope_set){from, count};
        least = fmin(least, least_of_all(sets, n + 1, from + count));
    }
    return least;
}

static void the_best_division_is_found(void **state)
{
    (void)state;
    rope_set sets[HALF];
    const double least = least_of_all(sets, 0, 0);
    double *rotation = rope_rotation_gram(&shape);
    rope_division division = rope_divide(&shape, ROPE, rotation, key_gram, queries);
    free(rotation);
    const double found = lost(&division);
    if (!(fabs(found / least - 1) < 1e-9))
        fail_msg("%lld sets lose %.12g, the best %.12g", (long long)division.sets, found, least);
    assert_true(division.sets > 1 && division.sets < HALF / STEP); /* neither end of what there is */
    rope_division_free(&division);
}

static void a_number_divides_evenly(void **state)
{
    (void)state;
    rope_division division = rope_uniform(&shape, 4);
    assert_int_equal(division.sets, 2);
    for (int i = 0; i < 2; i++) assert_true(division.set[i].from == 4 * i && division.set[i].count == 4);
    rope_division_free(&division);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_are_orthonormal),
        cmocka_unit_test(the_best_division_is_found),
        cmocka_unit_test(a_number_divides_evenly),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
