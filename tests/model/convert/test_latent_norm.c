/* The latent norms' weights and the constant channel, against sums of latents that are known. */
#include "model/convert/pieces.h"
#include "tests/model/convert/tiny_gqa.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { R = 6, ROWS = 50 };

static void close_to(double got, double want, double tolerance)
{
    if (!(fabs(got / want - 1) <= tolerance)) fail_msg("%.9g is not %.9g within %g", got, want, tolerance);
}

static double *ones(int64_t count)
{
    double *values = matrix_new(1, count);
    for (int64_t i = 0; i < count; i++) values[i] = 1;
    return values;
}

static mla_layer layer_of_ones(const dims *d, bool bias)
{
    return (mla_layer){.wkv_a = ones((d->R + d->Dr) * d->C),
                       .bkv_a = bias ? ones(d->R + d->Dr) : NULL,
                       .kv_a_norm = ones(d->R),
                       .wkv_b = ones(d->H * (d->Dn + d->Dv) * d->R)};
}

static dims shape(bool bias)
{
    const dims from = bias ? biased(plain) : plain;
    return convert_dims(&from, &(convert_settings){.rope = 4, .rank = R, .latent_norm = true});
}

/* Latents whose last dimension is about constant; `size` scales all. */
static latent_sums sums_of(double latents[ROWS][R], double size, bool constant)
{
    latent_sums sums = {0};
    for (int n = 0; n < ROWS; n++)
        for (int i = 0; i < R; i++) latents[n][i] = size * (i == R - 1 ? 40 + n % 3 : sin(n * R + i));
    latent_sums_add(&sums, latents[0], ROWS, R, constant);
    return sums;
}

/* Behind its norm the constant channel is as large as the other dimensions, and what reads it gets as much as
 * before; without one all have one weight. */
static void the_channel_is_scaled_down(void **state)
{
    (void)state;
    const dims d = shape(false);
    double latents[ROWS][R], rest = 0, last = 0;
    for (int constant = 0; constant < 2; constant++) {
        mla_layer l = layer_of_ones(&d, false);
        const latent_sums sums = sums_of(latents, 1, constant);
        rest = last = 0;
        for (int n = 0; n < ROWS; n++)
            for (int i = 0; i < R; i++)
                *(i == R - 1 ? &last : &rest) += latents[n][i] * latents[n][i] / (i == R - 1 ? 1 : R - 1);
        latent_norms_set(&l, &d, &sums, constant);
        const double *g = l.kv_a_norm, smaller = constant ? sqrt(rest / last) : 1;
        for (int i = 1; i < R - 1; i++) close_to(g[i], g[0], 1e-12);
        close_to(g[R - 1] / g[0], smaller, 1e-6);
        close_to(l.wkv_b[R - 1], 1 / smaller, 1e-6);
        close_to(l.wkv_b[R - 2], 1, 1e-15);
        mla_layer_free(&l);
    }
}

/* With a bias the channel is exact and nothing else makes it; without, it is a projection of the input.
 * Either way nothing reads it, and no other dimension changes. */
static void the_channel_takes_the_last_dimension(void **state)
{
    (void)state;
    double latents[ROWS][R];
    for (int bias = 0; bias < 2; bias++) {
        const dims d = shape(bias);
        const int64_t C = d.C;
        mla_layer l = layer_of_ones(&d, bias);
        double *inputs = matrix_new(C + 1, C + 1); /* inputs that are always (1, 0 ..): w is (1, 0 ..) */
        inputs[0] = inputs[C] = inputs[C * (C + 1)] = inputs[(C + 1) * (C + 1) - 1] = 70;
        const latent_sums sums = sums_of(latents, 1, false);
        const double error = latent_constant_channel_set(&l, &d, inputs, &sums),
                     size = (bias ? 10 : 3) * sqrt(sums.energy / sums.tokens);
        assert_true(error == 0);
        assert_true(bias ? l.wkv_a[(R - 1) * C] == 0 : fabs(l.wkv_a[(R - 1) * C] / size - 1) < 1e-12);
        assert_true(l.wkv_a[(R - 1) * C + 1] == 0 && l.wkv_a[(R - 2) * C] == 1 && l.wkv_a[R * C] == 1);
        if (bias) close_to(l.bkv_a[R - 1], size, 1e-12);
        if (bias) assert_true(l.bkv_a[R - 2] == 1 && l.bkv_a[R] == 1);
        for (int64_t i = 0; i < d.H * (d.Dn + d.Dv); i++)
            assert_true(l.wkv_b[i * R + R - 1] == 0 && l.wkv_b[i * R] == 1);
        mla_layer_free(&l);
        free(inputs);
    }
}

/* Latents smaller than 1 become 1, larger ones stay; the rotary key behind them stays. */
static void small_latents_are_enlarged(void **state)
{
    (void)state;
    const dims d = shape(true);
    double latents[ROWS][R];
    for (int small = 0; small < 2; small++) {
        mla_layer l = layer_of_ones(&d, true);
        const latent_sums sums = sums_of(latents, small ? 1e-3 : 1, false);
        latent_norms_enlarge(&l, &d, &sums);
        const double by = small ? 1 / sqrt(sums.square / sums.tokens - LATENT_NORM_EPS) : 1;
        close_to(l.wkv_a[0], by, 1e-12);
        close_to(l.wkv_a[R * d.C - 1], by, 1e-12);
        close_to(l.bkv_a[R - 1], by, 1e-12);
        assert_true(l.wkv_a[R * d.C] == 1 && l.bkv_a[R] == 1);
        mla_layer_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_channel_is_scaled_down),
        cmocka_unit_test(the_channel_takes_the_last_dimension),
        cmocka_unit_test(small_latents_are_enlarged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
