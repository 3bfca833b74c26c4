/* This project's method: every layer is made from the inputs that the converted model really gives it, and
 * is refitted towards the original's residual stream. Two streams of the calibration text go through the
 * layers side by side, the original's and the converted model's. For each layer:
 *   1 target    The original's layer runs on its own stream. What its attention adds, and half of what the
 *               converted stream lags behind, is what the converted attention has to add.
 *   2 inputs    S, the Gram matrix of the converted stream's attention inputs. The Gram matrices of keys
 *               and queries follow from it.
 *   3 cut       The keys' Gram matrix gives the rotary part (partial_rope.c, freqfold.c). Of the rest, the
 *               axes are kept whose loss would change attention's output most (metric.c).
 *   4 norms     Latent norms, where they are wanted (remla_norms.c).
 *   5 refit     o_proj, by ridge regression of the target on the heads' output (refit.c).
 *   6 advance   The converted stream goes through the finished layer.
 * After 3, 4 and 5 the layer is rounded to what will be written. So the next step corrects the rounding. */
#include "base/clock.h"
#include "base/memory.h"
#include "model/convert/remla.h"
#include "model/convert/strategy.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static status text_check(const layers_job *j, message *why)
{
    const int64_t tokens = j->text->sequences * j->text->T;
    int64_t needed = j->d->H * j->d->D;
    if (j->d->C + 1 > needed) needed = j->d->C + 1;
    if (tokens >= needed) return OK;
    return fail(why, ERR_INPUT,
                "%lld calibration tokens are too few: the least squares of a layer of this model have %lld "
                "unknowns for each output and need at least as many tokens, %lld, and are good with ten "
                "times as many",
                (long long)tokens, (long long)needed, (long long)needed);
}

static void state_new(conversion_work *w)
{
    const layers_job *j = w->job;
    const dims *d = j->d, *to = &w->target.m.d;
    const text_share *t = &w->text[TEXT_CALIBRATION];
    remla *r = w->state = memory_new(1, sizeof *r, "the state of a conversion");
    r->target = text_share_rows_new(t, d->C);
    r->row_rms = text_share_rows_new(t, 1);
    r->heads = text_share_rows_new(t, to->H * to->Dv);
    r->inputs = matrix_new(d->C + 1, d->C + 1);
    r->first_tokens = matrix_new(d->C + 1, d->C + 1);
    refit_init(&r->regression, to->H * to->Dv, d->C);
    if (!j->settings->freqfold) r->rotation = rope_rotation_gram(d);
}

static void state_free(conversion_work *w)
{
    remla *r = w->state;
    refit_free(&r->regression);
    void *const all[] = {r->target, r->row_rms, r->heads, r->rotation, r->inputs, r->first_tokens, r};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void begin(conversion_work *w)
{
    remla *r = w->state;
    r->original = work_stream(w, TEXT_CALIBRATION, &w->source, true);
    r->converted = work_stream(w, TEXT_CALIBRATION, &w->target, false);
    if (!w->job->held_out->sequences) return;
    for (int step = 0; step < CONVERT_STEPS; step++) {
        if (step == STEP_NORM && !w->job->settings->latent_norm) continue;
        layer_model *through = step == STEP_ORIGINAL ? &w->source
                               : step == STEP_ROPE   ? work_rotary(w)
                                                     : &w->target;
        r->held_out[step] = work_stream(w, TEXT_HELD_OUT, through, step == STEP_ORIGINAL);
    }
}

static status end(conversion_work *w, message *why)
{
    const remla *r = w->state;
    (void)why;
    w->report->loss_source = r->original->loss;
    w->report->loss_mla = r->converted->loss;
    for (int step = 0; step < CONVERT_STEPS; step++)
        if (r->held_out[step])
            w->report->held_out[step] = (step_loss){.measured = true, .loss = r->held_out[step]->loss};
    return OK;
}

/* ---- the steps of a layer -------------------- */

/* Of the layer's inputs, whose sums are the same on every rank. */
static status check_finite(const conversion_work *w, double energy, int64_t layer, message *why)
{
    const remla *r = w->state;
    const int64_t width = w->job->d->C + 1;
    bool good = isfinite(energy);
    for (int64_t i = 0; i < width * width; i++) good = good && isfinite(r->inputs[i]);
    if (good) return OK;
    return fail(why, ERR_INPUT,
                "layer %lld: on the calibration text its input or its attention's output is not finite: this "
                "layer or one before it is damaged",
                (long long)layer);
}

/* The axes of the latents, and what they keep. */
static void choose_axes(conversion_work *w, layer_cut *c, const double *key_gram, const double *queries)
{
    remla *r = w->state;
    const dims *from = c->from, *to = c->to;
    double *rotary = matrix_gram(c->u, key_gram, to->Dr, from->G * from->D), rope_energy = 0;
    metric_axes(from, to->Dr, to->R, c->g, c->u, queries, c->gram, c->down, c->up);
    if (to->Rq) metric_query_axes(from, layer_query_rank(to), c->g, r->inputs, c->q_down, c->q_up);
    for (int64_t i = 0; i < to->Dr; i++) rope_energy += rotary[i * to->Dr + i];
    r->kept = energy_shares_of(from, to->Dr, to->R, to->R, c->gram, c->down, c->up, rope_energy);
    if (w->job->settings->latent_norm)
        r->kept_beside_channel =
            energy_shares_of(from, to->Dr, to->R, to->R - 1, c->gram, c->down, c->up, rope_energy);
    free(rotary);
}

static void cut_layer(conversion_work *w, const gqa_layer *g, mla_layer *made, layer_report *report)
{
    const remla *r = w->state;
    const dims *from = w->job->d, to = convert_dims(from, w->job->settings);
    const int64_t freqfold = w->job->settings->freqfold;
    double *key_gram = matrix_gram(g->wk, r->inputs, from->G * from->D, from->C + 1),
           *queries = gqa_layer_query_grams(from, g, r->inputs);
    report->division =
        freqfold ? rope_uniform(from, freqfold) : rope_divide(from, to.Dr, r->rotation, key_gram, queries);
    double *u = rope_rotation(from, to.Dr, &report->division, key_gram);
    layer_cut c;
    layer_cut_begin(&c, from, &to, g, u, r->inputs);
    choose_axes(w, &c, key_gram, queries);
    layer_cut_end(&c, made);
    mla_layer_balance(made, &to);
    if (r->held_out[STEP_ROPE]) work_try_rotary(w, g, u);
    work_track(r->held_out[STEP_ROPE]);
    free(key_gram);
    free(queries);
    free(u);
}

static void refit_output(conversion_work *w, double energy, mla_layer *made, layer_report *report)
{
    remla *r = w->state;
    remla_measure_heads(w, r, w->job->text->sequences);
    const refit_result result = refit_solve(&r->regression);
    for (int64_t i = 0; i < r->regression.width * r->regression.C; i++) made->wo[i] += result.delta[i];
    report->error_cut = energy > 0 ? sqrt(r->regression.square / energy) : (double)NAN; /* a dead layer */
    report->error_refit = energy > 0 ? sqrt(result.after / energy) : (double)NAN;
    free(result.delta);
}

static status make_layer(conversion_work *w, int64_t layer, const gqa_layer *g, mla_layer *made, message *why)
{
    remla *r = w->state;
    layer_model *target = &w->target;
    const comm *c = w->job->c;
    layer_report *report = &w->report->layer[layer];
    const written_layer as = work_written(w, layer);
    work_track(r->held_out[STEP_ORIGINAL]);
    const double energy = remla_original_forward(w, r);
    target->m.d.latent_norm = false;
    TRY(layer_model_copy(target, &w->source, &as, why)); /* the norm that the inputs go through */
    measure_inputs(w, r->converted, 1, r->inputs, r->first_tokens);
    TRY(check_finite(w, energy, layer, why));
    cut_layer(w, g, made, report);
    TRY(layer_model_publish(target, made, c, &as, why));
    work_track(r->held_out[STEP_CUT]);
    remla_choose_norms(w, r, made, report);
    TRY(layer_model_publish(target, made, c, &as,
                            why)); /* before o_proj is fitted to what comes out of them */
    work_track(r->held_out[STEP_NORM]);
    refit_output(w, energy, made, report);
    TRY(layer_model_publish(target, made, c, &as, why));
    work_track(r->held_out[STEP_FINAL]);
    remla_converted_forward(r);
    return OK;
}

static status layer(conversion_work *w, int64_t number, const gqa_layer *g, message *why)
{
    const double start = clock_seconds();
    const remla *r = w->state;
    layer_report *report = &w->report->layer[number];
    mla_layer made = {0};
    const status s = make_layer(w, number, g, &made, why);
    mla_layer_free(&made);
    const energy_shares kept = isfinite(report->channel_error) ? r->kept_beside_channel : r->kept;
    report->key_share = kept.keys;
    report->value_share = kept.values;
    report->seconds = clock_seconds() - start;
    snprintf(w->progress, sizeof w->progress, "attention error %5.1f %% -> %5.1f %%", 100 * report->error_cut,
             100 * report->error_refit);
    return s;
}

/* ---- the only pass -------------------- */

static const layers_pass only_pass = {
    .name = "layer by layer", .writes = true, .begin = begin, .layer = layer, .end = end};

static const layers_pass *next(conversion_work *w)
{
    const remla *r = w->state;
    return r->original ? NULL : &only_pass; /* it opens that stream */
}

const conversion_strategy strategy_remla = {
    .reports_layers = true, .text_check = text_check, .open = state_new, .close = state_free, .next = next};
