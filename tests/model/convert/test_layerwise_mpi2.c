/* Both methods share a conversion out over ranks: the windows are dealt out, sums are taken over all, and the
 * model is that of one rank but for the order of sums. */
#include "tests/support/check.h"
#include "base/log.h"
#include "model/convert/layerwise.h"
#include "tests/model/convert/tiny_conversion.h"
#include <math.h>

static const comm *ranks;

static void close_to(double got, double want)
{
    if (!(fabs(got / want - 1) <= 1e-5)) fail_msg("%.9g is not %.9g", got, want);
}

static void two_ranks_make_the_model_of_one(void **state)
{
    (void)state;
    const convert_settings settings = {.rope = 4, .rank = 12, .q_rank = 20, .latent_norm = true};
    const dims d = biased(plain);
    for (convert_method method = METHOD_TRANSMLA; method <= METHOD_REMLA; method++) {
        tiny_conversion alone = {.d = &d, .k = ops_cpu_f32(), .method = method, .settings = &settings},
                        shared = alone;
        shared.c = ranks;
        tiny_convert(&alone);
        tiny_convert(&shared);
        close_to(shared.report.loss_source, alone.report.loss_source);
        close_to(shared.report.loss_mla, alone.report.loss_mla);
        for (int step = 0; step < CONVERT_STEPS; step++)
            if (alone.report.held_out[step].measured)
                close_to(shared.report.held_out[step].loss, alone.report.held_out[step].loss);
        if (ranks->rank == 0) close_to(tiny_loss(&shared, TINY_HELD_OUT), tiny_loss(&alone, TINY_HELD_OUT));
        layers_report_free(&alone.report);
        layers_report_free(&shared.report);
    }
}

int main(void)
{
    ranks = comm_start();
    log_start(1, false); /* as a rank that does not speak */
    if (ranks->size != 2) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_ranks_make_the_model_of_one)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(ranks);
    return failed;
}
