/* The story of a conversion:
 *   1 the original runs over the calibration text: how the keys of each layer vary;
 *   2 with that, for each FreqFold to be tried: all layers get their keys rotated and their rotary part
 *     shared (the partial-RoPE model). It runs over the text too: what reaches its attention is not quite
 *     what the original's saw;
 *   3 with that, rest of keys and values are cut to R principal components, queries to Rq, and the result
 *     runs over the text; the best FreqFold is kept;
 *   4 latent norms are inserted where they are wanted. */
#include "base/clock.h"
#include "model/convert/convert.h"
#include "base/log.h"
#include "model/convert/pieces.h"
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what can be converted -------------------- */

static bool rope_fits(const dims *d, int64_t rope)
{
    return rope % 2 == 0 && rope > 0 && rope <= d->D && d->D % rope == 0;
}

static status check_rope(const dims *d, int64_t rope, message *why)
{
    if (rope_fits(d, rope)) return OK;
    int64_t below = rope < d->D ? rope : d->D, above = rope;
    while (below > 0 && !rope_fits(d, below)) below--;
    while (above <= d->D && !rope_fits(d, above)) above++;
    char nearest[64];
    if (below > 0 && above <= d->D)
        snprintf(nearest, sizeof nearest, "%lld or %lld", (long long)below, (long long)above);
    else
        snprintf(nearest, sizeof nearest, "%lld", (long long)(below > 0 ? below : above));
    return fail(why, ERR_USAGE,
                "convert.qk_rope_head_dim=%lld: it must be even and divide the head width of this model, "
                "%lld; nearest that does: %s",
                (long long)rope, (long long)d->D, nearest);
}

/* Whether sets of f frequencies divide those of the model, with a whole number of them kept. */
static bool freqfold_fits(const dims *d, int64_t rope, int64_t f)
{
    return f > 0 && f % (d->D / rope) == 0 && d->D / 2 % f == 0;
}

static status check_freqfold(const dims *d, int64_t rope, int64_t f, message *why)
{
    if (f == 0 || freqfold_fits(d, rope, f)) return OK;
    char list[128];
    int used = 0;
    for (int64_t fits = d->D / rope; fits <= d->D / 2 && used < (int)sizeof list - 24; fits++)
        if (freqfold_fits(d, rope, fits))
            used += snprintf(list + used, sizeof list - (size_t)used, "%s%lld", used ? ", " : "",
                             (long long)fits);
    return fail(why, ERR_USAGE,
                "convert.freqfold=%lld: with heads of %lld and convert.qk_rope_head_dim=%lld it must be a "
                "multiple of %lld that divides %lld: one of %s, or auto",
                (long long)f, (long long)d->D, (long long)rope, (long long)(d->D / rope),
                (long long)(d->D / 2), list);
}

status convert_check(const dims *d, const convert_settings *s, message *why)
{
    const int64_t values = d->G * d->D;
    REQUIRE(d->kind == ATTENTION_GQA, "only GQA models are converted");
    TRY(check_rope(d, s->rope, why));
    const int64_t most = 2 * values - s->rope, least = s->latent_norm ? 2 : 1;
    if (s->rank < least || s->rank > most)
        return fail(why, ERR_USAGE,
                    "convert.kv_lora_rank=%lld: keys and values of this model have 2 x %lld dimensions, %lld "
                    "of them rotary: the rank must be from %lld to %lld",
                    (long long)s->rank, (long long)values, (long long)s->rope, (long long)least,
                    (long long)most);
    if (s->q_rank && (s->q_rank < least || s->q_rank > d->H * d->D))
        return fail(why, ERR_USAGE,
                    "convert.q_lora_rank=%lld: queries of this model have %lld dimensions: the rank must be "
                    "from %lld to %lld, or 0 for none",
                    (long long)s->q_rank, (long long)(d->H * d->D), (long long)least,
                    (long long)(d->H * d->D));
    return check_freqfold(d, s->rope, s->freqfold, why);
}

dims convert_dims(const dims *source, const convert_settings *s)
{
    dims d = *source;
    /* Who reads the bent frequencies of Llama 3 right reads biases too (transformers), and who does not read
     * biases has other frequencies (vLLM's and SGLang's own classes): there a bias costs no reader, and makes
     * the latent norms' constant channel exact. */
    const bool bias = source->q_bias || source->k_bias || source->v_bias || (s->stock && source->rope.llama3);
    d.kind = ATTENTION_MLA;
    d.G = d.D = 0;
    d.Dn = d.Dv = source->D;
    d.Dr = s->rope;
    d.R = s->rank;
    d.Rq = s->q_rank;
    d.latent_norm = s->latent_norm;
    d.k_bias = bias;
    d.q_bias = bias && !s->stock; /* TransMLA's layout has one key for both */
    d.o_bias = bias && s->stock;
    d.q_a_bias = d.o_bias && d.Rq;
    d.v_bias = false;
    d.tied = source->tied && !s->stock;
    return d;
}

dims rotary_dims(const dims *source, const convert_settings *s)
{
    convert_settings whole = *s;
    whole.rank = 2 * source->G * source->D - s->rope;
    whole.q_rank = 0;
    whole.latent_norm = whole.stock = false;
    return convert_dims(source, &whole);
}

/* ---- models -------------------- */

static void copy_tensor(model *to, tensor *out, const model *from, const tensor *in)
{
    float *values = values_read(from->k, in);
    to->k->upload(out, values, to->k->stream);
    free(values);
}

void copy_common(model *to, const model *from)
{
    for (int i = 0; i < to->table.count; i++) {
        const param *p = &to->table.param[i], *q = param_find(&from->table, p->name);
        if (!q || q->rank != p->rank || q->dim[0] != p->dim[0] || q->dim[1] != p->dim[1]) continue;
        const tensor in = weights_param(&from->w, q);
        tensor out = weights_param(&to->w, p);
        copy_tensor(to, &out, from, &in);
    }
    if (from->d.tied && !to->d.tied) untie(to, from);
}

void untie(model *to, const model *from) { copy_tensor(to, &to->w.head, from, &from->w.embed); }

static double *rotation(const dims *d, int64_t rope, int64_t freqfold, const double *key_gram)
{
    rope_division division = rope_uniform(d, freqfold);
    double *u = rope_rotation(d, rope, &division, key_gram);
    rope_division_free(&division);
    return u;
}

void conversion_partial(const conversion *c, model *m)
{
    const dims *from = &c->source->d;
    const dims to = rotary_dims(from, &c->chosen);
    model_init(m, &to, c->source->k, 1);
    copy_common(m, c->source);
    for (int64_t l = 0; l < from->L; l++) {
        gqa_layer g;
        mla_layer layer;
        gqa_layer_read(&g, c->source, l);
        double *u = rotation(from, to.Dr, c->chosen.freqfold, c->key_gram[l]);
        double *joint = joint_projection(from, &to, &g, u, NULL);
        mla_layer_build(&layer, from, &to, &g, &(layer_basis){.u = u, .joint = joint});
        mla_layer_write(&layer, m, l);
        mla_layer_free(&layer);
        gqa_layer_free(&g);
        free(joint);
        free(u);
    }
}

/* Fills one layer of the result. s: attention inputs of the partial-RoPE model. */
static void cut_layer(const conversion *c, model *m, int64_t l, const double *s)
{
    const dims *from = &c->source->d;
    const convert_settings *how = &c->chosen;
    const int64_t n = 2 * from->G * from->D - how->rope, width = from->C + 1, queries = from->H * from->D;
    gqa_layer g;
    mla_layer layer;
    gqa_layer_read(&g, c->source, l);
    double *u = rotation(from, how->rope, how->freqfold, c->key_gram[l]);
    double *joint = joint_projection(from, &m->d, &g, u, s), *gram = matrix_gram(joint, s, n, width);
    double *down = matrix_new(how->rank, n), *up = matrix_new(n, how->rank), *q_down = NULL, *q_up = NULL;
    joint_axes(from, how->rope, how->rank, how->balance, gram, down, up);
    if (how->q_rank) {
        double *q_gram = matrix_gram(g.wq, s, queries, width);
        const int64_t q_rank = query_rank(&m->d);
        q_down = principal_axes(queries, q_rank, q_gram);
        q_up = matrix_transposed(q_down, q_rank, queries);
        free(q_gram);
    }
    mla_layer_build(
        &layer, from, &m->d, &g,
        &(layer_basis){.u = u, .joint = joint, .down = down, .up = up, .q_down = q_down, .q_up = q_up});
    mla_layer_write(&layer, m, l);
    mla_layer_free(&layer);
    gqa_layer_free(&g);
    double *const all[] = {u, joint, gram, down, up, q_down, q_up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Steps 2 and 3 with the FreqFold in c->chosen: fills c->mla, whose latent norms stay off, and
 * loss_partial; loss_mla where it is wanted. */
static status convert_at(conversion *c, const calibration *text, bool measure, message *why)
{
    char stage[64];
    model partial;
    activations acts;
    gram_set inputs;
    conversion_partial(c, &partial);
    calibration_activations(&acts, text, &partial);
    gram_set_init(&inputs, &partial, &acts, 1);
    snprintf(stage, sizeof stage, "partial RoPE, FreqFold %lld", (long long)c->chosen.freqfold);
    c->loss_partial = calibrate(&partial, &acts, text, stage, gram_tap, &inputs);
    activations_free(&acts);
    model_free(&partial);
    if (!isfinite(c->loss_partial)) {
        gram_set_free(&inputs);
        return fail(why, ERR_INPUT, "the partial-RoPE model's loss on the calibration text is %g",
                    c->loss_partial);
    }

    const double start = clock_seconds();
    const dims to = convert_dims(&c->source->d, &c->chosen);
    model_init(&c->mla, &to, c->source->k, 1);
    copy_common(&c->mla, c->source);
    for (int64_t l = 0; l < to.L; l++) cut_layer(c, &c->mla, l, inputs.s[l]);
    gram_set_free(&inputs);
    log_line("  %-36s (%.1f s)", "principal components", clock_seconds() - start);
    /* The norms' weights have their place but are not in use yet: the same memory serves to measure
     * without and to run with them. */
    c->mla.d.latent_norm = false;
    if (!measure) return OK;
    snprintf(stage, sizeof stage, "MLA, FreqFold %lld", (long long)c->chosen.freqfold);
    calibration_activations(&acts, text, &c->mla);
    c->loss_mla = calibrate(&c->mla, &acts, text, stage, NULL, NULL);
    activations_free(&acts);
    return OK;
}

/* Step 1. Of the original's attention inputs only the Gram matrix of the keys is kept. */
static void calibrate_source(conversion *c, const calibration *text)
{
    const model *source = c->source;
    activations acts;
    gram_set inputs;
    calibration_activations(&acts, text, source);
    gram_set_init(&inputs, source, &acts, 1);
    c->loss_source = calibrate(source, &acts, text, "original", gram_tap, &inputs);
    activations_free(&acts);
    for (int64_t l = 0; l < source->d.L; l++) {
        gqa_layer g;
        gqa_layer_read(&g, source, l);
        c->key_gram[l] = matrix_gram(g.wk, inputs.s[l], source->d.G * source->d.D, source->d.C + 1);
        gqa_layer_free(&g);
    }
    gram_set_free(&inputs);
}

status conversion_run(conversion *c, const model *source, const convert_settings *s, const calibration *text,
                      message *why)
{
    *c = (conversion){.source = source, .chosen = *s};
    TRY(convert_check(&source->d, s, why));
    const int64_t tokens = text->windows * text->T, needed = s->q_rank > s->rank ? s->q_rank : s->rank;
    if (tokens < needed)
        return fail(why, ERR_INPUT,
                    "%lld calibration tokens are too few: a rank of %lld needs at least as many, and is good "
                    "with ten times as many",
                    (long long)tokens, (long long)needed);
    c->key_gram = calloc((size_t)source->d.L, sizeof *c->key_gram);
    if (!c->key_gram) die(ERR_DEVICE, "no memory for %lld layers", (long long)source->d.L);

    log_line("calibration: %lld windows of %lld tokens", (long long)text->windows, (long long)text->T);
    calibrate_source(c, text);
    if (!isfinite(c->loss_source))
        return fail(why, ERR_INPUT,
                    "the original's loss on the calibration text is %g: there is nothing to convert",
                    c->loss_source);
    if (s->freqfold) {
        TRY(convert_at(c, text, !s->latent_norm, why)); /* inserting the norms begins with that measurement */
    } else {
        const int64_t most = source->d.D / 2;
        conversion best = {0}; /* its model is there once a result is */
        for (int64_t f = source->d.D / s->rope; f <= most; f *= 2) {
            if (!freqfold_fits(&source->d, s->rope, f)) continue;
            c->chosen.freqfold = f;
            const status s_at = convert_at(c, text, true, why);
            if (s_at != OK) {
                if (best.mla.k) model_free(&best.mla);
                return s_at;
            }
            /* The first one wins when no loss is a number, so that there always is a result. */
            const bool better = !best.mla.k || c->loss_mla < best.loss_mla;
            model_free(better ? &best.mla : &c->mla);
            if (better) best = *c;
            c->mla = (model){0};
        }
        *c = best;
        log_line("FreqFold %lld is the best", (long long)c->chosen.freqfold);
    }
    if (s->latent_norm) {
        activations acts;
        calibration_activations(&acts, text, &c->mla);
        c->loss_mla = latent_norms_insert(&c->mla, &acts, text);
        activations_free(&acts);
    }
    return OK;
}

void conversion_free(conversion *c)
{
    if (c->key_gram)
        for (int64_t l = 0; l < c->source->d.L; l++) free(c->key_gram[l]);
    free(c->key_gram);
    if (c->mla.k) model_free(&c->mla);
    *c = (conversion){0};
}
