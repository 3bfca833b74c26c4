/* The latent norms of one layer, in this project's method. Both kinds are tried, and judged by the error
 * that attention would have after o_proj is refitted. A try is rounded to float only. What is kept is
 * rounded to the written type afterwards. */
#include "model/convert/remla.h"
#include <math.h>
#include <stdlib.h>

/* The choice of norms is made on this many tokens, in whole windows. */
enum { CHOICE_TOKENS = 4096 };

/* Publishes a try. Returns the error that attention will have once o_proj is refitted: |..|^2 over the tokens
 * of a choice. */
static double error_after_refit(conversion_work *w, remla *r, mla_layer *tried)
{
    const int64_t T = r->converted->text->ids.T;
    work_try(w, &w->target, tried);
    remla_measure_heads(w, r, (CHOICE_TOKENS + T - 1) / T);
    const refit_result result = refit_solve(&r->regression);
    free(result.delta);
    return result.after;
}

/* inputs + (FIRST_WEIGHT - 1) first_tokens: what latent_constant_channel_set wants. */
static double *weighted_inputs(const conversion_work *w, const remla *r)
{
    const int64_t width = w->job->d->C + 1;
    double *weighted = matrix_new(width, width);
    for (int64_t i = 0; i < width * width; i++)
        weighted[i] = r->inputs[i] + (FIRST_WEIGHT - 1) * r->first_tokens[i];
    return weighted;
}

static double rms(const latent_sums *sums) { return sqrt(sums[LATENT_KV].square / sums[LATENT_KV].tokens); }

void remla_choose_norms(conversion_work *w, remla *r, mla_layer *made, layer_report *report)
{
    model *m = &w->target.m;
    const dims *d = &m->d;
    latent_sums plain_sums[LATENT_KINDS], channel_sums[LATENT_KINDS];
    measure_latents(w, r->converted, plain_sums, false);
    report->latent_rms = rms(plain_sums);
    report->channel_error = (double)NAN;
    if (!w->job->settings->latent_norm) return;
    m->d.latent_norm = true;
    latent_norms_set(made, d, plain_sums, false);
    const double plain_error = error_after_refit(w, r, made);

    mla_layer channel = mla_layer_copy(made, d);
    double *inputs = weighted_inputs(w, r);
    report->channel_error = latent_constant_channel_set(&channel, d, inputs, plain_sums);
    free(inputs);
    work_try(w, &w->target, &channel);
    measure_latents(w, r->converted, channel_sums, true);
    latent_norms_set(&channel, d, channel_sums, true);
    const bool keep_channel = error_after_refit(w, r, &channel) <= plain_error;

    mla_layer other = keep_channel ? *made : channel;
    if (keep_channel)
        *made = channel;
    else
        report->channel_error = (double)NAN;
    mla_layer_free(&other);
    const latent_sums *kept = keep_channel ? channel_sums : plain_sums;
    latent_norms_enlarge(made, d, kept);
    report->latent_rms = fmax(rms(kept), 1);
}
