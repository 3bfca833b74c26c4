/* What can be asked of a conversion, and the shapes that follow. A key of the result has a rotary part of Dr
 * elements, which all heads share; it takes the place of D/2 frequencies in each of G groups, so Dr must
 * divide D, and sets of FreqFold frequencies must divide D/2 with a whole number of them kept. */
#include "model/convert/convert.h"
#include <stdio.h>

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

/* Whether sets of f frequencies divide those of the model, with a whole number of each set kept. */
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
    /* Whatever reads the scaled frequencies of Llama 3 correctly reads biases too (transformers), and what
     * does not read biases computes other frequencies (vLLM's and SGLang's own classes). So a bias costs no
     * reader there, and makes the latent norms' constant channel exact. */
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

int64_t convert_freqfold_next(const dims *d, const convert_settings *s, int64_t last)
{
    if (s->freqfold) return last ? 0 : s->freqfold;
    for (int64_t f = last ? 2 * last : d->D / s->rope; f <= d->D / 2; f *= 2)
        if (freqfold_fits(d, s->rope, f)) return f;
    return 0;
}

dims convert_rotary_dims(const dims *source, const convert_settings *s)
{
    convert_settings whole = *s;
    whole.rank = 2 * source->G * source->D - s->rope;
    whole.q_rank = 0;
    whole.latent_norm = whole.stock = false;
    return convert_dims(source, &whole);
}
