/* The latent norms of one layer: both kinds are tried, judged by what o_proj can still make of the attention.
 */
#include "model/convert/work.h"
#include <math.h>
#include <stdlib.h>

/* The choice of norms is made on this many tokens, in whole windows. */
enum { CHOICE_TOKENS = 4096 };

/* What the attention will still lack once o_proj is refitted: |..|^2 over the tokens of a choice. */
static double error_after_refit(conversion_work *w)
{
    measure_heads(w, (CHOICE_TOKENS + w->text.T - 1) / w->text.T);
    const refit_result r = refit_solve(&w->fit);
    free(r.delta);
    return r.after;
}

/* Weights that change the latents of the sums least. */
static void write_norms(conversion_work *w, const latent_sums *sums, bool constant_last)
{
    for (int kind = 0; kind < latent_kinds(&w->target.d); kind++)
        norm_weight_write(&w->target, 0, (latent_kind)kind, &sums[kind], constant_last);
}

static double rms(const latent_sums *sums) { return sqrt(sums[LATENT_KV].square / sums[LATENT_KV].tokens); }

void insert_norms(conversion_work *w, layer_report *report)
{
    model *m = &w->target;
    const int64_t width = m->d.C + 1;
    latent_sums plain_sums[LATENT_KINDS], sums[LATENT_KINDS];
    measure_latents(w, plain_sums, false);
    report->latent_rms = rms(plain_sums);
    report->channel_error = (double)NAN;
    if (!w->j->how->latent_norm) return;
    write_norms(w, plain_sums, false);
    m->d.latent_norm = true;
    const double plain = error_after_refit(w);
    float *saved = values_read(m->k, &m->w.unit[1]); /* the layer, between two tries */

    double *weighted = matrix_new(width, width);
    for (int64_t i = 0; i < width * width; i++) weighted[i] = w->inputs[i] + (FIRST_WEIGHT - 1) * w->first[i];
    report->channel_error = constant_channel_write(m, 0, weighted, plain_sums);
    free(weighted);
    measure_latents(w, sums, true);
    write_norms(w, sums, true);
    const bool keeps = error_after_refit(w) <= plain;
    if (!keeps) {
        report->channel_error = (double)NAN;
        m->k->upload(&m->w.unit[1], saved, m->k->stream);
    }
    free(saved);
    const latent_sums *kept = keeps ? sums : plain_sums;
    for (int kind = 0; kind < latent_kinds(&m->d); kind++)
        latent_enlarge(m, 0, (latent_kind)kind, &kept[kind]);
    report->latent_rms = fmax(rms(kept), 1);
}
