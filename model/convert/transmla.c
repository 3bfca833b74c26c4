/* TransMLA's method (arXiv:2502.07864): the steps of its converter. It decides by what whole models make of
 * the text, so it goes through the layers several times, and keeps the attention of the layers that it has
 * made in memory in between. The passes:
 *   original   The text goes through the original. The Gram matrix of each layer's keys gives rotations.
 *   try        For each FreqFold to be tried: all layers get their keys rotated and their rotary part shared
 *              (the partial-RoPE model). Its own attention inputs, which are not quite the original's, give
 *              the Gram matrix of which the first R principal components are kept (lowrank.c). The FreqFold
 *              with the least loss wins.
 *   norms      Where they are wanted: plain norms on all layers and the constant channel on all layers, side
 *              by side (latent_norm.c). The model with the lower loss wins.
 *   write      The result is rounded and written, and held-out text goes through it.
 * o_proj is not refitted. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/convert/strategy.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The attention of all layers of a model: (L) of mla_layer. */
typedef struct made_layers {
    mla_layer *layer; /* NULL: there is none */
    double loss;      /* on the calibration text */
    int64_t freqfold;
} made_layers;

typedef struct transmla {
    bool looked, wrote;                     /* the passes `original` and `write` are done */
    double *inputs;                         /* (C+1,C+1) Gram matrix of this layer's attention inputs */
    double **key_gram;                      /* (L) (G*D,G*D) of the original's keys before rotation */
    int64_t freqfold;                       /* tried last; 0: none yet */
    made_layers tried, best;                /* without latent norms; best becomes the result */
    made_layers channel;                    /* best with the constant channel, while norms are chosen */
    bool chosen;                            /* the norms are */
    double *channel_errors;                 /* (L) of latent_constant_channel_set */
    stream *original, *partial, *converted; /* converted: without norms */
    stream *with_plain;                     /* with plain norms */
    stream *beside_channel;                 /* with the channel, without norms */
    stream *with_channel;                   /* with both */
} transmla;

static status text_check(const layers_job *j, message *why)
{
    const convert_settings *s = j->settings;
    const int64_t tokens = j->text->sequences * j->text->T,
                  needed = s->q_rank > s->rank ? s->q_rank : s->rank;
    if (tokens >= needed) return OK;
    return fail(why, ERR_INPUT,
                "%lld calibration tokens are too few: a rank of %lld needs at least as many, and is good "
                "with ten times as many",
                (long long)tokens, (long long)needed);
}

/* ---- state -------------------- */

static made_layers made_new(const conversion_work *w, int64_t freqfold)
{
    return (made_layers){.freqfold = freqfold,
                         .layer = memory_new(w->job->d->L, sizeof(mla_layer), "%lld layers of attention",
                                             (long long)w->job->d->L)};
}

static void made_free(const conversion_work *w, made_layers *m)
{
    for (int64_t l = 0; m->layer && l < w->job->d->L; l++) mla_layer_free(&m->layer[l]);
    free(m->layer);
    *m = (made_layers){0};
}

static void state_new(conversion_work *w)
{
    const dims *d = w->job->d;
    transmla *t = w->state = memory_new(1, sizeof *t, "the state of a conversion");
    t->inputs = matrix_new(d->C + 1, d->C + 1);
    t->key_gram = memory_new(d->L, sizeof *t->key_gram, "the keys of %lld layers", (long long)d->L);
    t->channel_errors = matrix_new(1, d->L);
}

static void state_free(conversion_work *w)
{
    transmla *t = w->state;
    for (int64_t l = 0; l < w->job->d->L; l++) free(t->key_gram[l]);
    made_free(w, &t->tried);
    made_free(w, &t->best);
    made_free(w, &t->channel);
    free(t->key_gram);
    free(t->inputs);
    free(t->channel_errors);
    free(t);
}

static void say_loss(const conversion_work *w, const char *name, double loss)
{
    log_line("  %-36s loss %.4f  (%.1f s)", name, loss, clock_seconds() - w->began);
}

/* ---- original -------------------- */

static void original_begin(conversion_work *w)
{
    transmla *t = w->state;
    t->original = work_stream(w, TEXT_CALIBRATION, &w->source, true);
}

static status original_layer(conversion_work *w, int64_t layer, const gqa_layer *g, message *why)
{
    transmla *t = w->state;
    const dims *d = w->job->d;
    (void)why;
    measure_inputs(w, t->original, 1, t->inputs, NULL);
    t->key_gram[layer] = matrix_gram(g->wk, t->inputs, d->G * d->D, d->C + 1);
    stream_advance(t->original);
    return OK;
}

static status original_end(conversion_work *w, message *why)
{
    transmla *t = w->state;
    (void)why;
    w->report->loss_source = t->original->loss;
    say_loss(w, "original", t->original->loss);
    t->looked = true;
    return OK;
}

/* ---- try: one FreqFold -------------------- */

static double *rotation(const conversion_work *w, int64_t freqfold, int64_t layer)
{
    const transmla *t = w->state;
    rope_division division = rope_uniform(w->job->d, freqfold);
    double *u = rope_rotation(w->job->d, w->job->settings->rope, &division, t->key_gram[layer]);
    rope_division_free(&division);
    return u;
}

static void cut_layer(const conversion_work *w, const gqa_layer *g, const double *u, mla_layer *made)
{
    const transmla *t = w->state;
    const convert_settings *s = w->job->settings;
    const dims *from = w->job->d, to = convert_dims(from, s);
    layer_cut c;
    layer_cut_begin(&c, from, &to, g, u, t->inputs);
    lowrank_joint_axes(from, to.Dr, to.R, s->balance, c.gram, c.down, c.up);
    if (to.Rq) lowrank_query_axes(from, layer_query_rank(&to), g, t->inputs, c.q_down, c.q_up);
    layer_cut_end(&c, made);
}

static void try_begin(conversion_work *w)
{
    transmla *t = w->state;
    t->tried = made_new(w, t->freqfold);
    t->partial = work_stream(w, TEXT_CALIBRATION, work_rotary(w), false);
    /* With a FreqFold that is given, the choice of norms begins with this measurement. */
    const bool measures = !w->job->settings->freqfold || !w->job->settings->latent_norm;
    t->converted = measures ? work_stream(w, TEXT_CALIBRATION, &w->target, false) : NULL;
    w->target.m.d.latent_norm = false;
}

static status try_layer(conversion_work *w, int64_t layer, const gqa_layer *g, message *why)
{
    transmla *t = w->state;
    mla_layer *made = &t->tried.layer[layer];
    double *u = rotation(w, t->freqfold, layer);
    (void)why;
    work_try_rotary(w, g, u);
    measure_inputs(w, t->partial, 1, t->inputs, NULL);
    stream_advance(t->partial);
    cut_layer(w, g, u, made);
    free(u);
    if (!t->converted) return OK;
    work_copy(w, &w->target);
    work_try(w, &w->target, made);
    stream_advance(t->converted);
    return OK;
}

static status try_end(conversion_work *w, message *why)
{
    transmla *t = w->state;
    char name[64];
    snprintf(name, sizeof name, "partial RoPE, FreqFold %lld", (long long)t->freqfold);
    say_loss(w, name, t->partial->loss);
    if (!isfinite(t->partial->loss))
        return fail(
            why, DIVERGED,
            "the partial-RoPE model's loss on the calibration text is %g: keep more of the rotary part "
            "(convert.qk_rope_head_dim) or convert by convert.method=remla",
            t->partial->loss);
    if (t->converted) {
        t->tried.loss = t->converted->loss;
        snprintf(name, sizeof name, "MLA, FreqFold %lld", (long long)t->freqfold);
        say_loss(w, name, t->tried.loss);
    }
    /* The first one wins when no loss is a number. */
    const bool better = !t->best.layer || t->tried.loss < t->best.loss;
    made_free(w, better ? &t->best : &t->tried);
    if (better) t->best = t->tried;
    t->tried = (made_layers){0};
    w->report->loss_mla = t->best.loss;
    w->report->freqfold = t->best.freqfold;
    return OK;
}

/* ---- norms -------------------- */

static void norms_begin(conversion_work *w)
{
    transmla *t = w->state;
    t->channel = made_new(w, t->best.freqfold);
    t->converted = work_stream(w, TEXT_CALIBRATION, &w->target, false);
    t->with_plain = work_stream(w, TEXT_CALIBRATION, &w->target, false);
    t->beside_channel = work_stream(w, TEXT_CALIBRATION, &w->target, false);
    t->with_channel = work_stream(w, TEXT_CALIBRATION, &w->target, false);
}

static status norms_layer(conversion_work *w, int64_t layer, const gqa_layer *g, message *why)
{
    transmla *t = w->state;
    model *m = &w->target.m;
    mla_layer *plain = &t->best.layer[layer], *channel = &t->channel.layer[layer];
    latent_sums plain_sums[LATENT_KINDS], channel_sums[LATENT_KINDS];
    (void)g, (void)why;
    /* 1 without norms, and what the plain one would do to the latents */
    m->d.latent_norm = false;
    work_copy(w, &w->target);
    work_try(w, &w->target, plain);
    measure_inputs(w, t->converted, FIRST_WEIGHT, t->inputs, NULL);
    measure_latents(w, t->converted, plain_sums, false);
    stream_advance(t->converted);
    *channel = mla_layer_copy(plain, &m->d);

    /* 2 the plain norm, over all R components */
    latent_norms_set(plain, &m->d, plain_sums, false);
    work_try(w, &w->target, plain);
    m->d.latent_norm = true;
    stream_advance(t->with_plain);

    /* 3 the constant channel beside R-1, without norms */
    t->channel_errors[layer] = latent_constant_channel_set(channel, &m->d, t->inputs, plain_sums);
    work_try(w, &w->target, channel);
    m->d.latent_norm = false;
    measure_latents(w, t->beside_channel, channel_sums, true);
    stream_advance(t->beside_channel);

    /* 4 the norm over the channel and R-1 */
    latent_norms_set(channel, &m->d, channel_sums, true);
    work_try(w, &w->target, channel);
    m->d.latent_norm = true;
    stream_advance(t->with_channel);

    latent_norms_enlarge(plain, &m->d, plain_sums);
    latent_norms_enlarge(channel, &m->d, channel_sums);
    return OK;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void say_channel_errors(const conversion_work *w)
{
    const transmla *t = w->state;
    const int64_t L = w->job->d->L;
    qsort(t->channel_errors, (size_t)L, sizeof *t->channel_errors, ascending);
    if (t->channel_errors[L - 1] > 0)
        log_line("  constant channel: constant within %.1f %% (median over layers), %.1f %% (worst layer)",
                 100 * t->channel_errors[L / 2], 100 * t->channel_errors[L - 1]);
}

static status norms_end(conversion_work *w, message *why)
{
    transmla *t = w->state;
    (void)why;
    const double without = t->converted->loss, plain = t->with_plain->loss, channel = t->with_channel->loss;
    /* Not a number counts as worse. */
    const bool keep_plain = !(channel <= plain);
    const double kept = keep_plain ? plain : channel;
    say_channel_errors(w);
    log_line("  latent norms: loss on the calibration text %.4f without, %.4f with the constant channel, "
             "%.4f plain: kept %s, which costs %+.2f %%  (%.1f s)",
             without, channel, plain, keep_plain ? "the plain norm" : "the constant channel",
             100 * (kept / without - 1), clock_seconds() - w->began);
    made_free(w, keep_plain ? &t->channel : &t->best);
    if (!keep_plain) t->best = t->channel;
    t->channel = (made_layers){0};
    t->chosen = true;
    w->report->loss_mla = kept;
    return OK;
}

/* ---- write -------------------- */

static void write_begin(conversion_work *w)
{
    transmla *t = w->state;
    w->target.m.d.latent_norm = w->job->settings->latent_norm;
    t->original = work_stream(w, TEXT_HELD_OUT, &w->source, true);
    t->partial = work_stream(w, TEXT_HELD_OUT, work_rotary(w), true); /* nobody writes it */
    t->converted = work_stream(w, TEXT_HELD_OUT, &w->target, false);
}

static status write_layer(conversion_work *w, int64_t layer, const gqa_layer *g, message *why)
{
    transmla *t = w->state;
    const written_layer as = work_written(w, layer);
    if (t->partial) {
        double *u = rotation(w, t->best.freqfold, layer);
        work_try_rotary(w, g, u);
        free(u);
    }
    TRY(layer_model_copy(&w->target, &w->source, &as, why));
    TRY(layer_model_publish(&w->target, &t->best.layer[layer], w->job->c, &as, why));
    mla_layer_free(&t->best.layer[layer]);
    work_track(t->original);
    work_track(t->partial);
    work_track(t->converted);
    return OK;
}

static status write_end(conversion_work *w, message *why)
{
    transmla *t = w->state;
    (void)why;
    t->wrote = true;
    if (!t->original) return OK;
    w->report->held_out[STEP_ORIGINAL] = (step_loss){.measured = true, .loss = t->original->loss};
    w->report->held_out[STEP_ROPE] = (step_loss){.measured = true, .loss = t->partial->loss};
    w->report->held_out[STEP_FINAL] = (step_loss){.measured = true, .loss = t->converted->loss};
    return OK;
}

/* ---- which pass comes when -------------------- */

static const layers_pass original_pass = {
    .name = "original", .begin = original_begin, .layer = original_layer, .end = original_end};
static const layers_pass try_pass = {
    .name = "partial RoPE and MLA", .begin = try_begin, .layer = try_layer, .end = try_end};
static const layers_pass norms_pass = {
    .name = "latent norms", .begin = norms_begin, .layer = norms_layer, .end = norms_end};
static const layers_pass write_pass = {
    .name = "result", .writes = true, .begin = write_begin, .layer = write_layer, .end = write_end};

static const layers_pass *next(conversion_work *w)
{
    transmla *t = w->state;
    if (!t->looked) return &original_pass;
    const int64_t freqfold = convert_freqfold_next(w->job->d, w->job->settings, t->freqfold);
    if (freqfold) {
        t->freqfold = freqfold;
        return &try_pass;
    }
    if (!t->chosen && !t->wrote && !w->job->settings->freqfold)
        log_line("FreqFold %lld is the best", (long long)t->best.freqfold);
    if (w->job->settings->latent_norm && !t->chosen) return &norms_pass;
    return t->wrote ? NULL : &write_pass;
}

const conversion_strategy strategy_transmla = {
    .text_check = text_check, .open = state_new, .close = state_free, .next = next};
