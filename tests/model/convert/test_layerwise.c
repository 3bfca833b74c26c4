/* The driver with both of its methods: on every table of ops they make the same model; what they report is
 * what they have written; where theory says that two models are equal they are; what cannot work is refused
 * with a sentence. */
#include "tests/support/check.h"
#include "base/log.h"
#include "model/convert/layerwise.h"
#include "model/hf/model_files.h"
#include "tests/model/convert/tiny_conversion.h"
#include <math.h>

static void close_to(double got, double want, double tolerance)
{
    if (!(fabs(got / want - 1) <= tolerance)) fail_msg("%.9g is not %.9g within %g", got, want, tolerance);
}

static const convert_method methods[] = {METHOD_REMLA, METHOD_TRANSMLA};

/* ---- both methods -------------------- */

/* Losses of `got` against those of `want`. */
static void same_losses(const layers_report *got, const layers_report *want, double tolerance)
{
    close_to(got->loss_source, want->loss_source, tolerance);
    close_to(got->loss_mla, want->loss_mla, tolerance);
    assert_int_equal(got->freqfold, want->freqfold);
    for (int step = 0; step < CONVERT_STEPS; step++) {
        assert_true(got->held_out[step].measured == want->held_out[step].measured);
        if (want->held_out[step].measured)
            close_to(got->held_out[step].loss, want->held_out[step].loss, tolerance);
    }
}

/* With double, only the rows between layers and the weights are rounded to float. Measured: 3e-8 at most.
 */
static void any_table_makes_the_same_model(void **state)
{
    (void)state;
    const convert_settings settings[] = {
        {.rope = 4, .rank = 12, .freqfold = 4},
        {.rope = 4, .rank = 12, .q_rank = 20, .latent_norm = true},
        {.rope = 4, .rank = 12, .q_rank = 20, .latent_norm = true, .stock = true}};
    const dims d = biased(plain);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        for (int m = 0; m < 2; m++) {
            tiny_conversion want = {
                .d = &d, .k = ops_cpu_f64(), .method = methods[m], .settings = &settings[i]};
            tiny_convert(&want);
            const ops *k;
            for (int table = 0; (k = check_table(table)); table++) {
                if (k->act != k->real) continue;
                tiny_conversion got = {.d = &d, .k = k, .method = methods[m], .settings = &settings[i]};
                tiny_convert(&got);
                same_losses(&got.report, &want.report, 1e-6);
                layers_report_free(&got.report);
            }
            layers_report_free(&want.report);
        }
}

/* One driver reads the original for both: to the last bit they measure the same of it. Each reports what it
 * has. */
static void both_methods_go_through_one_driver(void **state)
{
    (void)state;
    const convert_settings settings = {.rope = 4, .rank = 12, .freqfold = 4, .latent_norm = true};
    tiny_conversion c[2];
    for (int m = 0; m < 2; m++) {
        c[m] =
            (tiny_conversion){.d = &plain, .k = ops_cpu_f32(), .method = methods[m], .settings = &settings};
        tiny_convert(&c[m]);
        assert_true(isfinite(c[m].report.loss_mla) && c[m].report.held_out[STEP_FINAL].measured);
        assert_true(c[m].report.held_out[STEP_CUT].measured == (methods[m] == METHOD_REMLA));
        assert_int_equal(c[m].report.layers, methods[m] == METHOD_REMLA ? plain.L : 0);
    }
    assert_true(c[0].report.loss_source == c[1].report.loss_source);
    assert_true(c[0].report.held_out[STEP_ORIGINAL].loss == c[1].report.held_out[STEP_ORIGINAL].loss);
    close_to(c[0].report.held_out[STEP_ORIGINAL].loss, tiny_loss_source(&plain, 0, TINY_HELD_OUT), 1e-6);
    for (int m = 0; m < 2; m++) layers_report_free(&c[m].report);
}

/* In bf16, which rounds all that is written, the loss on held-out text is that of the folder. That on the
 * calibration text is, too, but TransMLA's method measures it before it rounds: here in f32. */
static void reports_the_loss_of_what_is_written(void **state)
{
    (void)state;
    const convert_settings settings[] = {{.rope = 4, .rank = 12, .freqfold = 4},
                                         {.rope = 4, .rank = 12, .q_rank = 20, .latent_norm = true}};
    const dims d = biased(plain);
    for (int i = 0; i < 2; i++)
        for (int m = 0; m < 2; m++) {
            tiny_conversion c = {
                .d = &d, .k = ops_cpu_f32(), .method = methods[m], .settings = &settings[i], .storage = BF16};
            tiny_convert(&c);
            close_to(c.report.held_out[STEP_FINAL].loss, tiny_loss(&c, TINY_HELD_OUT), 1e-6);
            layers_report_free(&c.report);
            c.storage = F32;
            tiny_convert(&c);
            close_to(c.report.loss_mla, tiny_loss(&c, TINY_TEXT), 1e-6);
            close_to(c.report.loss_source, tiny_loss_source(&d, 0, TINY_TEXT), 1e-6);
            layers_report_free(&c.report);
        }
}

static void too_little_text_is_refused(void **state)
{
    (void)state;
    static const char *const sentences[] = {"9 calibration tokens are too few: the least squares",
                                            "9 calibration tokens are too few: a rank of 12"};
    for (int m = 0; m < 2; m++) {
        const convert_settings settings = {.rope = 4, .rank = 12, .freqfold = 4};
        sample s = sample_random(3);
        const token_batch all = text_of(&s), text = token_batch_view(&all, 0, 1), none = {0};
        const layers_job j = {.method = methods[m],
                              .k = ops_cpu_f32(),
                              .source = "nothing-is-read",
                              .d = &plain,
                              .settings = &settings,
                              .text = &text,
                              .held_out = &none,
                              .storage = F32,
                              .folder = "nothing-is-written",
                              .c = comm_self()};
        layers_report report;
        message why;
        assert_int_equal(convert_layers(&j, &report, &why), ERR_INPUT);
        if (!strstr(why.text, sentences[m])) fail_msg("\"%s\" does not say \"%s\"", why.text, sentences[m]);
        layers_report_free(&report);
    }
}

static void refuses(convert_method method, double head_times, status code, const char *sentence)
{
    const convert_settings settings = {.rope = 4, .rank = 12, .freqfold = 4};
    tiny_conversion c = {
        .d = &plain, .k = ops_cpu_f32(), .method = method, .settings = &settings, .head_times = head_times};
    message why = {""};
    assert_int_equal(tiny_try(&c, &why), code);
    if (!strstr(why.text, sentence)) fail_msg("\"%s\" does not say \"%s\"", why.text, sentence);
    layers_report_free(&c.report);
}

/* Nothing but the logits grows with the head. Just below the factor at which the original's are no floats any
 * more, those of a model that is not quite the original already are none. */
static void a_loss_that_is_not_finite_ends_it(void **state)
{
    (void)state;
    static const char *const ended_by[] = {"the converted model's loss on the calibration text is ",
                                           "the partial-RoPE model's loss on the calibration text is "};
    double finite = 1, infinite = 1e39;
    while (infinite / finite > 1.0001) {
        const double between = sqrt(finite * infinite);
        if (isfinite(tiny_loss_source(&plain, between, TINY_TEXT)))
            finite = between;
        else
            infinite = between;
    }
    for (int m = 0; m < 2; m++) {
        refuses(methods[m], infinite, ERR_INPUT, "the original's loss on the calibration text is ");
        refuses(methods[m], finite, DIVERGED, ended_by[m]);
    }
}

/* ---- TransMLA's -------------------- */

static layers_report transmla(const dims *d, const convert_settings *settings, double *written)
{
    tiny_conversion c = {.d = d, .k = ops_cpu_f32(), .method = METHOD_TRANSMLA, .settings = settings};
    tiny_convert(&c);
    if (written) *written = tiny_loss(&c, TINY_HELD_OUT);
    return c.report;
}

/* At full rank nothing is lost between the partial-RoPE model and the result; below it something is. */
static void full_rank_is_the_partial_model(void **state)
{
    (void)state;
    const dims d = biased(plain);
    for (int factored = 0; factored < 2; factored++) {
        const convert_settings full = {.rope = 4, .rank = 28, .q_rank = factored ? 32 : 0, .freqfold = 4};
        const layers_report r = transmla(&d, &full, NULL);
        close_to(r.held_out[STEP_FINAL].loss, r.held_out[STEP_ROPE].loss, 1e-5);
        assert_true(fabs(r.held_out[STEP_ROPE].loss / r.held_out[STEP_ORIGINAL].loss - 1) > 1e-4);
    }
    const layers_report r = transmla(&d, &(convert_settings){.rope = 4, .rank = 6, .freqfold = 4}, NULL);
    assert_true(fabs(r.held_out[STEP_FINAL].loss / r.held_out[STEP_ROPE].loss - 1) > 1e-4);
}

static void auto_takes_the_best_freqfold(void **state)
{
    (void)state;
    double best = INFINITY, written, of_best = 0;
    int64_t freqfold = 0;
    convert_settings settings = {.rope = 4, .rank = 12};
    for (settings.freqfold = 2; settings.freqfold <= 4; settings.freqfold *= 2) {
        const layers_report r = transmla(&plain, &settings, &written);
        assert_int_equal(r.freqfold, settings.freqfold);
        if (r.loss_mla < best) best = r.loss_mla, freqfold = settings.freqfold, of_best = written;
    }
    settings.freqfold = 0;
    const layers_report r = transmla(&plain, &settings, &written);
    assert_true(r.loss_mla == best && written == of_best);
    assert_int_equal(r.freqfold, freqfold);
}

/* With a bias the channel is exactly constant, so that the norm is close to the identity; without, whichever
 * way is kept is better than nothing at all. */
static void latent_norms_cost_little(void **state)
{
    (void)state;
    for (int bias = 0; bias < 2; bias++) {
        const dims d = bias ? biased(plain) : plain;
        convert_settings settings = {.rope = 4, .rank = 20, .q_rank = 24, .freqfold = 4};
        double written;
        const layers_report without = transmla(&d, &settings, NULL);
        settings.latent_norm = true;
        const layers_report with = transmla(&d, &settings, &written);
        close_to(with.loss_mla, without.loss_mla, 0.03);
        close_to(with.held_out[STEP_FINAL].loss, without.held_out[STEP_FINAL].loss, 0.03);
        close_to(with.held_out[STEP_FINAL].loss, written, 1e-6);
    }
}

int main(void)
{
    log_start(1, false); /* as a rank that does not speak */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_table_makes_the_same_model),
        cmocka_unit_test(both_methods_go_through_one_driver),
        cmocka_unit_test(reports_the_loss_of_what_is_written),
        cmocka_unit_test(too_little_text_is_refused),
        cmocka_unit_test(a_loss_that_is_not_finite_ends_it),
        cmocka_unit_test(full_rank_is_the_partial_model),
        cmocka_unit_test(auto_takes_the_best_freqfold),
        cmocka_unit_test(latent_norms_cost_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
