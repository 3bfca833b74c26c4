/* The memory of a conversion by layers, and the two ends of its streams. */
#include "model/convert/work.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void work_init(conversion_work *w, const layers_job *j)
{
    const dims *d = j->d, whole = convert_dims(d, j->how), of_source = source_layer(j),
               of_target = one_layer(whole, false);
    *w = (conversion_work){.j = j};
    text_share_init(&w->text, j->text, j->c);
    const text_share *t = &w->text;
    model_init(&w->source, &of_source, j->k, 1);
    model_init(&w->target, &of_target, j->k, 1);
    stream_activations(&w->source_acts, t, &w->source);
    stream_activations(&w->target_acts, t, &w->target);
    w->original = rows_new(t, d->C);
    w->converted = rows_new(t, d->C);
    w->wanted = rows_new(t, d->C);
    w->size = rows_new(t, 1);
    w->heads = rows_new(t, whole.H * whole.Dv);
    w->inputs = matrix_new(d->C + 1, d->C + 1);
    w->first = matrix_new(d->C + 1, d->C + 1);
    const int64_t latents = whole.R > whole.Rq ? whole.R : whole.Rq, heads = whole.H * whole.Dv,
                  widest = d->C + 1 > heads ? d->C + 1 : heads;
    w->a = matrix_new(t->B * t->T, widest > latents ? widest : latents);
    w->b = matrix_new(t->B * t->T, d->C + 1);
    refit_init(&w->fit, heads, d->C);
    if (!j->how->freqfold) w->rotation = rotation_gram(d);

    if (!j->held_out->windows) return;
    text_share_init(&w->held_out, j->held_out, j->c);
    const dims of_rope = one_layer(rotary_dims(d, j->how), false);
    model_init(&w->rotary, &of_rope, j->k, 1);
    for (int step = 0; step < CONVERT_STEPS; step++) {
        held_out_stream *f = &w->follow[step];
        if (step == STEP_NORM && !j->how->latent_norm) continue;
        f->m = step == STEP_ORIGINAL ? &w->source : step == STEP_ROPE ? &w->rotary : &w->target;
        stream_activations(&f->acts, &w->held_out, f->m);
        f->x = rows_new(&w->held_out, d->C);
    }
}

void work_free(conversion_work *w)
{
    for (int step = 0; step < CONVERT_STEPS; step++) {
        if (!w->follow[step].x) continue;
        activations_free(&w->follow[step].acts);
        free(w->follow[step].x);
    }
    activations_free(&w->source_acts);
    activations_free(&w->target_acts);
    model_free(&w->source);
    model_free(&w->target);
    if (w->held_out.windows) model_free(&w->rotary);
    text_share_free(&w->text);
    text_share_free(&w->held_out);
    refit_free(&w->fit);
    void *const all[] = {w->original, w->converted, w->wanted, w->size, w->heads,
                         w->rotation, w->inputs,    w->first,  w->a,    w->b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void embed_original(conversion_work *w)
{
    held_out_stream *f = &w->follow[STEP_ORIGINAL];
    stream_embed(w->original, &w->text, &w->source, &w->source_acts);
    if (f->x) stream_embed(f->x, &w->held_out, &w->source, &f->acts);
}

void embed_converted(conversion_work *w)
{
    const int64_t bytes = (int64_t)sizeof(float) * w->held_out.rows * w->j->d->C;
    float *first = w->follow[STEP_ROPE].x;
    stream_embed(w->converted, &w->text, &w->source, &w->source_acts);
    if (!first) return;
    stream_embed(first, &w->held_out, &w->source, &w->follow[STEP_ORIGINAL].acts);
    for (int step = STEP_ROPE + 1; step < CONVERT_STEPS; step++)
        if (w->follow[step].x) memcpy(w->follow[step].x, first, (size_t)bytes);
}

static double held_out_loss(conversion_work *w, int step)
{
    const float *x = w->follow[step].x;
    return x ? stream_loss(x, &w->held_out, &w->source, &w->follow[STEP_ORIGINAL].acts, w->j->c)
             : (double)NAN;
}

void original_losses(conversion_work *w, layers_report *report)
{
    report->loss_source = stream_loss(w->original, &w->text, &w->source, &w->source_acts, w->j->c);
    report->held_out[STEP_ORIGINAL] = held_out_loss(w, STEP_ORIGINAL);
}

void converted_losses(conversion_work *w, layers_report *report)
{
    report->loss_mla = stream_loss(w->converted, &w->text, &w->source, &w->source_acts, w->j->c);
    for (int step = STEP_ORIGINAL + 1; step < CONVERT_STEPS; step++)
        report->held_out[step] = held_out_loss(w, step);
}
