/* The story of a conversion by layers. For each layer, in order:
 *   1 the original's rows go through the original's layer; what its attention leaves in the residual stream
 *     is the target;
 *   2 the converted model's rows, which have gone through all layers converted so far, tell what the layer's
 *     attention will be asked: rotary part, metric, low rank come from them, and latent norms;
 *   3 o_proj is refitted towards the target;
 *   4 the converted model's rows go through the result. */
#include "model/convert/layerwise.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/convert/work.h"
#include "model/hf/halves.h"
#include "model/hf/model_files.h"
#include <math.h>
#include <stdlib.h>

/* ---- weights that all ranks have, as they will be read again -------------------- */

/* Every rank goes on with rank 0's weights: eigenvectors may differ where the ranks' processors do. */
static void share(const comm *c, const ops *k, tensor *flat)
{
    if (c->size == 1) return;
    float *values = values_read(k, flat);
    comm_broadcast(c, values, flat->dim[0] * (int64_t)sizeof *values, 0);
    k->upload(flat, values, k->stream);
    free(values);
}

/* Rounds a unit to the type that is written. ERR_INPUT names what that type cannot hold. */
static status round_unit(const layers_job *j, const param_table *written, int unit, const ops *k,
                         tensor *flat, message *why)
{
    float *values = values_read(k, flat);
    status s = OK;
    for (int i = 0; i < written->count && s == OK; i++) {
        const param *p = &written->param[i];
        if (p->unit != unit) continue;
        float *at = values + p->offset;
        int64_t bad = floats_nonfinite(at, p->numel);
        if (bad < 0) bad = floats_round(at, p->numel, j->storage);
        if (bad >= 0)
            s = fail(why, ERR_INPUT,
                     "tensor '%s' of the converted model: element %lld is %g, which %s cannot hold: choose "
                     "another convert.dtype",
                     p->name, (long long)bad, (double)at[bad], dtype_name(j->storage));
    }
    if (s == OK) k->upload(flat, values, k->stream);
    free(values);
    return s;
}

/* ---- the steps of a layer -------------------- */

/* Fills the target's projections. */
static void cut(conversion_work *w, const gqa_layer *g, const rope_division *division)
{
    const dims *from = w->j->d, *to = &w->target.d;
    const int64_t n = 2 * from->G * from->D - to->Dr, width = from->C + 1;
    double *u = rope_rotation(from, to->Dr, division, w->key_gram),
           *joint = joint_projection(from, to, g, u, w->inputs),
           *gram = matrix_gram(joint, w->inputs, n, width), *down = matrix_new(to->R, n),
           *up = matrix_new(n, to->R), *q_down = NULL, *q_up = NULL,
           *rotary = matrix_gram(u, w->key_gram, to->Dr, from->G * from->D), rope_energy = 0;
    metric_axes(from, to->Dr, to->R, g, u, w->query_grams, gram, down, up);
    if (to->Rq) {
        const int64_t rank = query_rank(to), queries = from->H * from->D;
        q_down = matrix_new(rank, queries), q_up = matrix_new(queries, rank);
        query_axes(from, rank, g, w->inputs, q_down, q_up);
    }
    mla_layer layer;
    mla_layer_build(
        &layer, from, to, g,
        &(layer_basis){.u = u, .joint = joint, .down = down, .up = up, .q_down = q_down, .q_up = q_up});
    mla_layer_balance(&layer, to);
    mla_layer_write(&layer, &w->target, 0);
    mla_layer_free(&layer);
    for (int64_t i = 0; i < to->Dr; i++) rope_energy += rotary[i * to->Dr + i];
    w->kept = energy_kept(from, to->Dr, to->R, to->R, gram, down, up, rope_energy);
    if (w->j->how->latent_norm)
        w->kept_beside_channel = energy_kept(from, to->Dr, to->R, to->R - 1, gram, down, up, rope_energy);
    double *const all[] = {u, joint, gram, down, up, q_down, q_up, rotary};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void refit_output(conversion_work *w, double energy, layer_report *report)
{
    tensor *wo = &w->target.w.layer[0].wo;
    measure_heads(w, w->j->text->windows);
    const refit_result r = refit_solve(&w->fit);
    double *values = matrix_read(w->target.k, wo);
    for (int64_t i = 0; i < tensor_numel(wo); i++) values[i] += r.delta[i];
    matrix_write(w->target.k, wo, values);
    report->error_cut = energy > 0 ? sqrt(w->fit.square / energy) : (double)NAN; /* a dead layer */
    report->error_refit = energy > 0 ? sqrt(r.after / energy) : (double)NAN;
    free(values);
    free(r.delta);
}

/* ---- held-out text -------------------- */

static void follow(conversion_work *w, convert_step step)
{
    held_out_stream *f = &w->follow[step];
    if (f->x) stream_advance(f->x, &w->held_out, f->m, &f->acts);
}

static void follow_rope(conversion_work *w, const gqa_layer *g, const rope_division *division)
{
    if (!w->follow[STEP_ROPE].x) return;
    model *m = &w->rotary;
    const dims *from = w->j->d;
    double *u = rope_rotation(from, m->d.Dr, division, w->key_gram),
           *joint = joint_projection(from, &m->d, g, u, NULL);
    mla_layer layer;
    copy_common(m, &w->source);
    mla_layer_build(&layer, from, &m->d, g, &(layer_basis){.u = u, .joint = joint});
    mla_layer_write(&layer, m, 0);
    mla_layer_free(&layer);
    free(joint);
    free(u);
    share(w->j->c, m->k, &m->w.unit[1]);
    follow(w, STEP_ROPE);
}

/* ---- a layer -------------------- */

/* Of the layer's inputs, whose sums are the same on every rank. */
static status check_finite(const conversion_work *w, double energy, int64_t layer, message *why)
{
    const int64_t width = w->j->d->C + 1;
    bool good = isfinite(energy);
    for (int64_t i = 0; i < width * width; i++) good = good && isfinite(w->inputs[i]);
    if (good) return OK;
    return fail(why, ERR_INPUT,
                "layer %lld: on the calibration text its input or its attention's output is not finite: this "
                "layer or one before it is damaged",
                (long long)layer);
}

typedef struct layer_task {
    conversion_work *w;
    const param_table *written;
    int64_t layer;
    layer_report *report;
} layer_task;

static status settle(const layer_task *t, message *why)
{
    model *m = &t->w->target;
    share(t->w->j->c, m->k, &m->w.unit[1]);
    return round_unit(t->w->j, t->written, (int)t->layer + 1, m->k, &m->w.unit[1], why);
}

static status make_layer(const layer_task *t, const gqa_layer *g, message *why)
{
    conversion_work *w = t->w;
    layer_report *report = t->report;
    const dims *d = w->j->d;
    const int64_t freqfold = w->j->how->freqfold;
    follow(w, STEP_ORIGINAL);
    const double energy = original_forward(w);
    w->target.d.latent_norm = false;
    copy_common(&w->target, &w->source);
    TRY(settle(t, why)); /* the norm that the inputs go through */
    measure_inputs(w);
    TRY(check_finite(w, energy, t->layer, why));
    w->key_gram = matrix_gram(g->wk, w->inputs, d->G * d->D, d->C + 1);
    w->query_grams = query_grams(d, g, w->inputs);
    report->division = freqfold ? rope_uniform(d, freqfold)
                                : rope_divide(d, w->target.d.Dr, w->rotation, w->key_gram, w->query_grams);
    cut(w, g, &report->division);
    follow_rope(w, g, &report->division);
    TRY(settle(t, why));
    follow(w, STEP_CUT);
    insert_norms(w, report);
    TRY(settle(t, why)); /* before o_proj is fitted to what comes out of them */
    follow(w, STEP_NORM);
    refit_output(w, energy, report);
    TRY(settle(t, why));
    follow(w, STEP_FINAL);
    converted_forward(w);
    const energy_shares kept = isfinite(report->channel_error) ? w->kept_beside_channel : w->kept;
    report->key_share = kept.keys;
    report->value_share = kept.values;
    return OK;
}

static status convert_layer(const layer_task *t, message *why)
{
    const double start = clock_seconds();
    gqa_layer g;
    gqa_layer_read(&g, &t->w->source, 0);
    const status s = make_layer(t, &g, why);
    gqa_layer_free(&g);
    free(t->w->key_gram);
    free(t->w->query_grams);
    t->w->key_gram = t->w->query_grams = NULL;
    t->report->seconds = clock_seconds() - start;
    return s;
}

/* ---- all of them -------------------- */

static void say_layer(int64_t layer, int64_t layers, const layer_report *r, double began)
{
    char time[24];
    const double spent = clock_seconds() - began;
    log_line("  layer %3lld/%lld: attention error %5.1f %% -> %5.1f %%, %s left", (long long)layer + 1,
             (long long)layers, 100 * r->error_cut, 100 * r->error_refit,
             duration_text(spent * (double)(layers - layer - 1) / (double)(layer + 1), time));
}

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
    const dims to = convert_dims(j->d, j->how);
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

/* On rank 0, and agreed upon. */
static status write_unit(conversion_files *f, const layers_job *j, int unit, const tensor *flat, message *why)
{
    return comm_agree(j->c, f->writing ? model_writer_unit(&f->out, unit, flat, why) : OK, why);
}

static status read_unit(conversion_files *f, const layers_job *j, int unit, tensor *flat, message *why)
{
    return comm_agree(j->c, model_reader_unit(&f->in, unit, flat, why), why);
}

/* Embedding, final norm and head, as they are in the original or as they will be in the result. */
static status read_ends(conversion_work *w, conversion_files *f, message *why)
{
    model *ends = &w->source;
    TRY(read_unit(f, w->j, 0, &ends->w.unit[0], why));
    TRY(read_unit(f, w->j, (int)w->j->d->L + 1, &ends->w.unit[2], why));
    if (w->j->d->tied && !ends->d.tied) untie(ends, ends);
    return OK;
}

static status round_ends(conversion_work *w, conversion_files *f, message *why)
{
    const ops *k = w->source.k;
    TRY(round_unit(w->j, &f->target, 0, k, &w->source.w.unit[0], why));
    return round_unit(w->j, &f->target, (int)w->j->d->L + 1, k, &w->source.w.unit[2], why);
}

static status run_layers(conversion_work *w, conversion_files *f, layers_report *report, message *why)
{
    const layers_job *j = w->j;
    TRY(read_ends(w, f, why));
    embed_original(w);
    TRY(round_ends(w, f, why));
    embed_converted(w);
    TRY(write_unit(f, j, 0, &w->source.w.unit[0], why));
    const double began = clock_seconds();
    for (int64_t l = 0; l < j->d->L; l++) {
        layer_report *r = &report->layer[l];
        TRY(read_unit(f, j, (int)l + 1, &w->source.w.unit[1], why));
        TRY(convert_layer(&(layer_task){.w = w, .written = &f->target, .layer = l, .report = r}, why));
        TRY(write_unit(f, j, (int)l + 1, &w->target.w.unit[1], why));
        say_layer(l, j->d->L, r, began);
    }
    TRY(write_unit(f, j, (int)j->d->L + 1, &w->source.w.unit[2], why));
    converted_losses(w, report);
    TRY(read_ends(w, f, why));
    original_losses(w, report);
    if (!f->writing) return OK;
    f->writing = false;
    return model_writer_finish(&f->out, why);
}

status layers_text_check(const layers_job *j, message *why)
{
    const int64_t tokens = j->text->windows * j->text->T;
    int64_t needed = j->d->H * j->d->D;
    if (j->d->C + 1 > needed) needed = j->d->C + 1;
    if (tokens >= needed) return OK;
    return fail(why, ERR_INPUT,
                "%lld calibration tokens are too few: the least squares of a layer of this model have %lld "
                "unknowns for each output and need at least as many tokens, %lld, and are good with ten "
                "times as many",
                (long long)tokens, (long long)needed, (long long)needed);
}

status convert_layers(const layers_job *j, layers_report *report, message *why)
{
    *report = (layers_report){
        .layer = memory_new(j->d->L, sizeof *report->layer, "the report of %lld layers", (long long)j->d->L),
        .layers = j->d->L};
    TRY(convert_check(j->d, j->how, why));
    TRY(layers_text_check(j, why));
    conversion_files files;
    status s = files_open(&files, j, why);
    if (s == OK) {
        conversion_work w;
        work_init(&w, j);
        s = comm_agree(j->c, run_layers(&w, &files, report, why), why);
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
