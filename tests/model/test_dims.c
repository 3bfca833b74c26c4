/* Rotary frequencies against those of an independent float64 implementation (numpy, from transformers'
 * formulas). */
#include "model/dims.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void check(const rope_settings *r, int width, const double *want)
{
    double got[32];
    rope_frequencies(r, width, got);
    for (int i = 0; i < width / 2; i++)
        if (!(fabs(got[i] / want[i] - 1) <= 1e-14))
            fail_msg("frequency %d is %.17g, expected %.17g", i, got[i], want[i]);
}

static void plain_frequencies(void **state)
{
    (void)state;
    static const double want[] = {1.0, 0.1, 0.01, 0.001};
    check(&(rope_settings){.theta = 10000}, 8, want);
}

/* Wavelengths below 250 stay (indices 0 to 4), 5 and 6 are between, the rest are stretched 32 times. */
static void llama3_frequencies(void **state)
{
    (void)state;
    static const double want[] = {1.0,
                                  0.44036660267178046,
                                  0.19392274474868576,
                                  0.08539710028576561,
                                  0.03760603093086393,
                                  0.00926452306571922,
                                  0.0006062462751396289,
                                  0.00010035768733601848,
                                  4.419417382415922e-05,
                                  1.9461638184831125e-05,
                                  8.570255489881478e-06,
                                  3.7740542941082826e-06,
                                  1.661967467795309e-06,
                                  7.318749675440419e-07,
                                  3.2229329303788936e-07,
                                  1.4192720251899592e-07};
    check(&(rope_settings){.theta = 500000,
                           .llama3 = true,
                           .factor = 32,
                           .low_freq_factor = 1,
                           .high_freq_factor = 4,
                           .original_max_position = 1000},
          32, want);
}

/* Llama-3-8B: 32 layers, 8 key/value heads of 128; TransMLA's 512 + 64 of it. */
static void cache_bytes(void **state)
{
    (void)state;
    assert_int_equal(kv_bytes_per_token(&(dims){.kind = ATTENTION_GQA, .L = 32, .H = 32, .G = 8, .D = 128}),
                     131072);
    assert_int_equal(kv_bytes_per_token(&(dims){
                         .kind = ATTENTION_MLA, .L = 32, .H = 32, .R = 512, .Dr = 64, .Dn = 128, .Dv = 128}),
                     36864);
}

/* A sliding window must not be shorter than a sequence; the sentence names the option. */
static void lengths(void **state)
{
    (void)state;
    message why = {""};
    assert_int_equal(dims_check_length(&(dims){.window = 0}, "eval.seq_len", 1 << 20, &why), OK);
    assert_int_equal(dims_check_length(&(dims){.window = 32}, "eval.seq_len", 32, &why), OK);
    assert_int_equal(dims_check_length(&(dims){.window = 32}, "eval.seq_len", 33, &why), ERR_USAGE);
    assert_non_null(strstr(why.text, "eval.seq_len=33 is longer than the model's sliding_window of 32"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_frequencies),
        cmocka_unit_test(llama3_frequencies),
        cmocka_unit_test(cache_bytes),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
