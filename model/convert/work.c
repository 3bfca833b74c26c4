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
    model_init(&w->source, &of_source, ops_cpu_f32(), t->B, t->T, MODEL_EVALUATE, 1);
    model_init(&w->target, &of_target, ops_cpu_f32(), t->B, t->T, MODEL_EVALUATE, 1);
    no_document_mask(&w->source);
    no_document_mask(&w->target);
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
    for (int step = 0; step < CONVERT_STEPS; step++) {
        held_out_stream *f = &w->follow[step];
        if (step == STEP_NORM && !j->how->latent_norm) continue;
        if (step == STEP_ROPE)
            model_init(&f->m, &of_rope, ops_cpu_f32(), w->held_out.B, w->held_out.T, MODEL_EVALUATE, 1);
        else
            model_init_sharing(&f->m, step == STEP_ORIGINAL ? &w->source : &w->target, w->held_out.B,
                               w->held_out.T);
        if (step == STEP_CUT) f->m.d.latent_norm = false;
        no_document_mask(&f->m);
        f->x = rows_new(&w->held_out, d->C);
    }
}

void work_free(conversion_work *w)
{
    for (int step = 0; step < CONVERT_STEPS; step++) {
        if (!w->follow[step].x) continue;
        model_free(&w->follow[step].m);
        free(w->follow[step].x);
    }
    model_free(&w->source);
    model_free(&w->target);
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
    stream_embed(w->original, &w->text, &w->source);
    if (f->x) stream_embed(f->x, &w->held_out, &f->m);
}

void embed_converted(conversion_work *w)
{
    const int64_t bytes = (int64_t)sizeof(float) * w->held_out.rows * w->j->d->C;
    float *first = w->follow[STEP_ROPE].x;
    stream_embed(w->converted, &w->text, &w->source);
    if (!first) return;
    stream_embed(first, &w->held_out, &w->follow[STEP_ORIGINAL].m);
    for (int step = STEP_ROPE + 1; step < CONVERT_STEPS; step++)
        if (w->follow[step].x) memcpy(w->follow[step].x, first, (size_t)bytes);
}

static double held_out_loss(conversion_work *w, int step)
{
    const held_out_stream *f = &w->follow[step];
    return f->x ? stream_loss(f->x, &w->held_out, &w->follow[STEP_ORIGINAL].m, w->j->c) : (double)NAN;
}

void original_losses(conversion_work *w, layers_report *report)
{
    report->loss_source = stream_loss(w->original, &w->text, &w->source, w->j->c);
    report->held_out[STEP_ORIGINAL] = held_out_loss(w, STEP_ORIGINAL);
}

void converted_losses(conversion_work *w, layers_report *report)
{
    report->loss_mla = stream_loss(w->converted, &w->text, &w->source, w->j->c);
    for (int step = STEP_ORIGINAL + 1; step < CONVERT_STEPS; step++)
        report->held_out[step] = held_out_loss(w, step);
}
