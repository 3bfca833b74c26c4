/* The driver of every conversion. A conversion is one or more passes over the layers of the original. In a
 * pass, for each layer in order:
 *   1 the original's layer is read;
 *   2 the method makes a layer of it, from what its streams of text show, and sends the streams through
 *     (remla.c, transmla.c);
 *   3 in the pass that writes, the layer goes into the result's file.
 * After the last layer the streams' losses are taken, and may decide about the next pass. An original or a
 * result whose loss on the calibration text is not finite ends the conversion. The original's streams begin
 * and end with its embedding, final norm and head; in the pass that writes, the others begin and end with
 * those that are written. */
#include "model/convert/layerwise.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/convert/strategy.h"
#include "model/hf/model_files.h"
#include <math.h>
#include <stdlib.h>

/* A pass that says nothing about its layers says how far it is this often. */
enum { QUIET_SECONDS = 10 };

static const conversion_strategy *strategy_of(convert_method method)
{
    static const conversion_strategy *const all[] = {
        [METHOD_REMLA] = &strategy_remla, [METHOD_TRANSMLA] = &strategy_transmla};
    return all[method];
}

/* ---- files -------------------- */

/* Where the files are: every rank reads, rank 0 writes. */
typedef struct conversion_files {
    param_table source, target;
    model_reader in;
    model_writer out;
    bool reading, writing;
} conversion_files;

static status files_open(conversion_files *f, const layers_job *j, message *why)
{
    *f = (conversion_files){.writing = false};
    const dims to = convert_dims(j->d, j->settings);
    param_table_init(&f->source, j->d);
    param_table_init(&f->target, &to);
    status s = model_reader_open(&f->in, j->source, &f->source, j->k, why);
    f->reading = s == OK;
    if (s == OK && j->c->rank == 0) {
        s = model_writer_open(&f->out, j->folder, &f->target, j->k, j->storage, MODEL_FILE_BYTES, why);
        f->writing = s == OK;
    }
    return comm_agree(j->c, s, why);
}

static void files_close(conversion_files *f)
{
    if (f->reading) model_reader_close(&f->in);
    if (f->writing) model_writer_abandon(&f->out);
    param_table_free(&f->source);
    param_table_free(&f->target);
}

/* A unit of the result, on rank 0, and agreed upon. */
static status write_unit(conversion_files *f, const layers_job *j, int unit, const layer_model *l,
                         layer_unit from, message *why)
{
    const tensor flat = layer_model_acquire(l, from);
    const status s = f->writing ? model_writer_unit(&f->out, unit, &flat, why) : OK;
    layer_model_release(l, from);
    return comm_agree(j->c, s, why);
}

static status read_unit(conversion_files *f, const layers_job *j, int unit, layer_model *l, layer_unit to,
                        message *why)
{
    return comm_agree(j->c, model_reader_unit(&f->in, unit, layer_model_storage(l, to), why), why);
}

/* Embedding, final norm and head of the original. */
static status read_embedding_and_head(conversion_work *w, conversion_files *f, message *why)
{
    const layers_job *j = w->job;
    TRY(read_unit(f, j, 0, &w->source, UNIT_EMBEDDING, why));
    TRY(read_unit(f, j, (int)j->d->L + 1, &w->source, UNIT_HEAD, why));
    if (j->d->tied && !w->source.m.d.tied) layer_model_untie(&w->source);
    return OK;
}

/* ---- a pass -------------------- */

static void embed_streams(conversion_work *w, bool original)
{
    for (int i = 0; i < w->streams; i++)
        if (w->stream[i].original == original) stream_embed(&w->stream[i], &w->source);
}

static void finish_streams(conversion_work *w, bool original)
{
    for (int i = 0; i < w->streams; i++)
        if (w->stream[i].original == original) stream_finish(&w->stream[i], &w->source, w->job->c);
}

static status begin_pass(conversion_work *w, conversion_files *f, const layers_pass *p, message *why)
{
    w->began = clock_seconds();
    p->begin(w);
    TRY(read_embedding_and_head(w, f, why));
    embed_streams(w, true);
    if (p->writes) {
        TRY(layer_model_round_embedding_and_head(&w->source, w->job->storage, why));
        TRY(write_unit(f, w->job, 0, &w->source, UNIT_EMBEDDING, why));
    }
    embed_streams(w, false);
    return OK;
}

static status end_pass(conversion_work *w, conversion_files *f, const layers_pass *p, message *why)
{
    if (p->writes) TRY(write_unit(f, w->job, (int)w->job->d->L + 1, &w->source, UNIT_HEAD, why));
    finish_streams(w, false);
    if (p->writes) TRY(read_embedding_and_head(w, f, why)); /* as they are in the original */
    finish_streams(w, true);
    return p->end(w, why);
}

/* began: of the first layer; *said: when something was said last. */
static void say_progress(const conversion_work *w, const layers_pass *p, int64_t layer, double began,
                         double *said)
{
    char time[24];
    const double now = clock_seconds();
    const int64_t done = layer + 1, layers = w->job->d->L;
    clock_duration_text((now - began) * (double)(layers - done) / (double)done, time);
    if (w->progress[0])
        log_line("  layer %3lld/%lld: %s, %s left", (long long)done, (long long)layers, w->progress, time);
    else if (now - *said >= QUIET_SECONDS && done < layers)
        log_line("  %-36s layer %lld of %lld, %s left", p->name, (long long)done, (long long)layers, time);
    else
        return;
    *said = now;
}

static status convert_layer(conversion_work *w, conversion_files *f, const layers_pass *p, int64_t layer,
                            message *why)
{
    gqa_layer g;
    TRY(read_unit(f, w->job, (int)layer + 1, &w->source, UNIT_LAYER, why));
    gqa_layer_read(&g, &w->source);
    w->progress[0] = 0;
    const status s = p->layer(w, layer, &g, why);
    gqa_layer_free(&g);
    TRY(s);
    return p->writes ? write_unit(f, w->job, (int)layer + 1, &w->target, UNIT_LAYER, why) : OK;
}

static status run_pass(conversion_work *w, conversion_files *f, const layers_pass *p, message *why)
{
    TRY(begin_pass(w, f, p, why));
    const double began = clock_seconds();
    double said = began;
    for (int64_t l = 0; l < w->job->d->L; l++) {
        TRY(convert_layer(w, f, p, l, why));
        say_progress(w, p, l, began, &said);
    }
    return end_pass(w, f, p, why);
}

/* ---- all of them -------------------- */

/* After any pass: the first one measures it. */
static status check_original(const layers_report *r, message *why)
{
    if (isfinite(r->loss_source)) return OK;
    return fail(why, ERR_INPUT,
                "the original's loss on the calibration text is %g: there is nothing to convert",
                r->loss_source);
}

/* When no pass that could still better it is left. */
static status check_result(const layers_report *r, message *why)
{
    if (isfinite(r->loss_mla)) return OK;
    return fail(
        why, DIVERGED,
        "the converted model's loss on the calibration text is %g, the original's %g: keep more of it "
        "(convert.kv_lora_rank, convert.qk_rope_head_dim) or convert it by the other convert.method",
        r->loss_mla, r->loss_source);
}

static status run_passes(conversion_work *w, conversion_files *f, const conversion_strategy *strategy,
                         message *why)
{
    for (const layers_pass *p; (p = strategy->next(w));) {
        if (p->writes) TRY(check_result(w->report, why)); /* 0 when the pass itself measures it */
        const status s = run_pass(w, f, p, why);
        work_close_streams(w);
        TRY(s);
        TRY(check_original(w->report, why));
    }
    TRY(check_result(w->report, why));
    if (!f->writing) return OK;
    f->writing = false;
    return model_writer_finish(&f->out, why);
}

status layers_text_check(const layers_job *j, message *why)
{
    return strategy_of(j->method)->text_check(j, why);
}

status convert_layers(const layers_job *j, layers_report *report, message *why)
{
    const conversion_strategy *strategy = strategy_of(j->method);
    REQUIRE(j->k->act == j->k->real, "a layer in %s is not what is written", dtype_name(j->k->act));
    *report = (layers_report){.freqfold = j->settings->freqfold};
    TRY(convert_check(j->d, j->settings, why));
    TRY(layers_text_check(j, why));
    if (strategy->reports_layers) {
        report->layers = j->d->L;
        report->layer = memory_new(report->layers, sizeof *report->layer, "the report of %lld layers",
                                   (long long)report->layers);
    }
    conversion_files files;
    status s = files_open(&files, j, why);
    if (s == OK) {
        conversion_work w;
        work_init(&w, j, report);
        strategy->open(&w);
        s = comm_agree(j->c, run_passes(&w, &files, strategy, why), why);
        strategy->close(&w);
        work_free(&w);
    }
    files_close(&files);
    return s;
}

void layers_report_free(layers_report *r)
{
    for (int64_t l = 0; l < r->layers; l++) rope_division_free(&r->layer[l].division);
    free(r->layer);
    *r = (layers_report){0};
}
