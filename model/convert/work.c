/* What stays in memory while layers come and go: models of one layer, this rank's part of the texts, the
 * streams of the pass that runs, buffers for a chunk. */
#include "model/convert/work.h"
#include <stdlib.h>

dims work_one_layer(dims d, bool with_embedding)
{
    d.L = 1;
    if (!with_embedding) d.V = 1, d.tied = true;
    return d;
}

dims work_source_layer(const layers_job *j)
{
    dims d = work_one_layer(*j->d, true);
    d.tied = convert_dims(j->d, j->settings).tied;
    return d;
}

int64_t work_widest_row(const dims *from, const dims *to)
{
    return larger(larger(from->C + 1, to->H * to->Dv), larger(to->R, to->Rq));
}

void work_init(conversion_work *w, const layers_job *j, layers_report *report)
{
    const dims result = convert_dims(j->d, j->settings), source = work_source_layer(j),
               target = work_one_layer(result, false);
    *w = (conversion_work){.job = j, .report = report};
    text_share_init(&w->text[TEXT_CALIBRATION], TEXT_CALIBRATION, j->text, j->c);
    if (j->held_out->sequences) text_share_init(&w->text[TEXT_HELD_OUT], TEXT_HELD_OUT, j->held_out, j->c);
    layer_model_init(&w->source, &source, j->k);
    layer_model_init(&w->target, &target, j->k);
    const text_share *t = &w->text[TEXT_CALIBRATION];
    w->chunk_rows = matrix_new(t->B * t->ids.T, work_widest_row(j->d, &result));
    w->chunk_augmented = matrix_new(t->B * t->ids.T, j->d->C + 1);
}

void work_free(conversion_work *w)
{
    work_close_streams(w);
    layer_model_free(&w->source);
    layer_model_free(&w->target);
    layer_model_free(&w->rotary);
    for (int i = 0; i < TEXTS; i++) text_share_free(&w->text[i]);
    free(w->chunk_rows);
    free(w->chunk_augmented);
}

layer_model *work_rotary(conversion_work *w)
{
    const dims d = work_one_layer(convert_rotary_dims(w->job->d, w->job->settings), false);
    if (!w->rotary.m.k) layer_model_init(&w->rotary, &d, w->job->k);
    return &w->rotary;
}

stream *work_stream(conversion_work *w, text_kind text, layer_model *through, bool original)
{
    if (text == TEXT_HELD_OUT && !w->job->held_out->sequences) return NULL;
    REQUIRE(w->streams < MOST_STREAMS, "more than %d streams", MOST_STREAMS);
    stream *s = &w->stream[w->streams++];
    stream_init(s, &w->text[text], through, original);
    return s;
}

void work_close_streams(conversion_work *w)
{
    while (w->streams) stream_free(&w->stream[--w->streams]);
}

void work_track(stream *held_out)
{
    if (held_out) stream_advance(held_out);
}

written_layer work_written(const conversion_work *w, int64_t layer)
{
    return (written_layer){.type = w->job->storage, .layer = layer};
}

void work_try(conversion_work *w, layer_model *to, mla_layer *l)
{
    message why;
    const status s = layer_model_publish(to, l, w->job->c, NULL, &why);
    REQUIRE(s == OK, "a layer as it is cannot be published: %s", why.text);
}

void work_copy(conversion_work *w, layer_model *to)
{
    message why;
    const status s = layer_model_copy(to, &w->source, NULL, &why);
    REQUIRE(s == OK, "a layer as it is cannot be copied: %s", why.text);
}

void work_try_rotary(conversion_work *w, const gqa_layer *g, const double *u)
{
    mla_layer l;
    layer_model *to = work_rotary(w);
    mla_layer_build_rotary(&l, w->job->d, &to->m.d, g, u);
    work_copy(w, to);
    work_try(w, to, &l);
    mla_layer_free(&l);
}
