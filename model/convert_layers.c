/* The story of a conversion by layers. For each layer, in order:
 *   1 the original's rows go through the original's layer; what its attention leaves in the residual stream
 *     is the target;
 *   2 the converted model's rows, which have gone through all layers converted so far, tell what the layer's
 *     attention will be asked: rotary part, metric, low rank come from them, and latent norms;
 *   3 o_proj is refitted towards the target;
 *   4 the converted model's rows go through the result. */
#include "model/convert_layers.h"
#include "base/log.h"
#include "model/halves.h"
#include "model/convert_parts.h"
#include "model/convert_refit.h"
#include "model/convert_streams.h"
#include "model/model_files.h"
#include "model/parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How much of what earlier layers left wrong in the residual stream an attention is to make good. All of it
 * is more than o_proj can know from its inputs: it would learn the calibration text. */
#define CATCH_UP 0.5

/* Held-out text with the layers converted up to one step. */
typedef struct held_out_stream {
    float *x; /* NULL: not followed */
    model m;  /* of one layer; the original's has embedding and head too */
} held_out_stream;

typedef struct conversion_work {
    const layers_job *j;
    model source; /* one layer of the original, and its embedding, final norm and head */
    model target; /* one layer of the result */
    text_share text, held_out;
    float *original, *converted; /* residual streams, (rows,C) */
    float *wanted;               /* (rows,C) what this layer's attention is to add to the converted one */
    float *size;                 /* (rows) root mean square of the original's stream after attention */
    float *heads;                /* (rows,H*Dv) of the converted attention */
    held_out_stream follow[CONVERT_STEPS];
    double *inputs, *first;         /* Gram matrices (C+1,C+1) of all attention inputs, and of first tokens */
    double *key_gram, *query_grams; /* of this layer: (G*D,G*D) of the keys, (H,D,D) of the heads' queries */
    double *a, *b;                  /* of a chunk, in double: (N,widest) */
    refit fit;
} conversion_work;

/* ---- 1 the original -------------------- */

/* Of the chunk whose residual stream after attention is `middle`: fills w->wanted and w->size. Returns the
 * energy of the attention's output. The stream goes into norms: here and in all errors a row counts as a
 * share of its size, or a few tokens with enormous activations would be all that counts. */
static double want(conversion_work *w, chunk c, const double *middle)
{
    const int64_t C = w->j->d->C;
    double energy = 0;
    for (int64_t n = c.row; n < c.row + c.rows; n++) {
        const double *after = middle + (n - c.row) * C;
        double square = 0, attention = 0;
        for (int64_t i = 0; i < C; i++) {
            const double x = (double)w->original[n * C + i], y = (double)w->converted[n * C + i],
                         adds = after[i] - x;
            square += after[i] * after[i];
            attention += adds * adds;
            w->wanted[n * C + i] = (float)(adds + CATCH_UP * (x - y));
        }
        const double mean = square / (double)C + w->j->d->norm_eps;
        w->size[n] = (float)sqrt(mean);
        energy += attention / mean;
    }
    return energy;
}

/* Fills w->wanted, advances w->original. Returns the energy of the attention's output. */
static double original_forward(conversion_work *w)
{
    const text_share *t = &w->text;
    model *m = &w->source;
    double energy = 0;
    EACH_CHUNK(c, t)
    {
        chunk_upload(m, &m->acts[0].x, w->original, c);
        block_forward(m, 0, &m->acts[0], &m->last);
        chunk_read(m, w->a, &m->acts[0].mid, c);
        energy += want(w, c, w->a);
        chunk_download(m, w->original, &m->last, c);
    }
    comm_sum_f64(w->j->c, &energy, 1);
    return energy;
}

/* ---- 2 what the converted model gives the layer -------------------- */

static void measure_inputs(conversion_work *w)
{
    const text_share *t = &w->text;
    model *m = &w->target;
    const int64_t C = m->d.C, width = C + 1;
    memset(w->inputs, 0, sizeof(double) * (size_t)(width * width));
    memset(w->first, 0, sizeof(double) * (size_t)(width * width));
    EACH_CHUNK(c, t)
    {
        chunk_upload(m, &m->acts[0].x, w->converted, c);
        m->k->rmsnorm_forward(&m->s.h, &m->acts[0].attn_rstd, &m->acts[0].x, &m->w.layer[0].attn_norm,
                              m->d.norm_eps, m->k->stream);
        chunk_read(m, w->a, &m->s.h, c);
        gram_add(w->inputs, w->b, w->a, c.rows, C, t->T, 1);
        for (int64_t i = 0; i < c.rows / t->T; i++)
            memmove(w->a + i * C, w->a + i * t->T * C, sizeof(double) * (size_t)C);
        gram_add(w->first, w->b, w->a, c.rows / t->T, C, 1, 1);
    }
    comm_sum_f64(w->j->c, w->inputs, width * width);
    comm_sum_f64(w->j->c, w->first, width * width);
}

/* Runs the converted attention on a chunk; `lacks` (rows,C) becomes what its output lacks, as shares of the
 * rows' sizes. */
static void attention_lacks(conversion_work *w, chunk c, double *lacks)
{
    model *m = &w->target;
    const int64_t C = m->d.C;
    chunk_upload(m, &m->acts[0].x, w->converted, c);
    attention_only(m);
    chunk_read(m, lacks, &m->s.delta, c);
    for (int64_t n = 0; n < c.rows; n++)
        for (int64_t i = 0; i < C; i++)
            lacks[n * C + i] =
                ((double)w->wanted[(c.row + n) * C + i] - lacks[n * C + i]) / (double)w->size[c.row + n];
}

/* Fills w->heads and the sums of the regression from the first `most` windows of the whole text. */
static void measure_heads(conversion_work *w, int64_t most)
{
    const comm *ranks = w->j->c;
    const int64_t mine = (most - ranks->rank + ranks->size - 1) / ranks->size, end = mine * w->text.T;
    const text_share *t = &w->text;
    model *m = &w->target;
    const int64_t width = m->d.H * m->d.Dv;
    refit_clear(&w->fit);
    EACH_CHUNK(c, t)
    {
        if (c.row >= end) break;
        if (c.rows > end - c.row) c.rows = end - c.row;
        attention_lacks(w, c, w->b);
        chunk_download(m, w->heads, &m->acts[0].heads, c);
        chunk_read(m, w->a, &m->acts[0].heads, c);
        for (int64_t n = 0; n < c.rows; n++)
            for (int64_t i = 0; i < width; i++) w->a[n * width + i] /= (double)w->size[c.row + n];
        refit_add(&w->fit, w->a, w->b, c.rows);
    }
    refit_sum(&w->fit, w->j->c);
}

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

/* Fills the target's projections. */
static void cut(conversion_work *w, const gqa_layer *g, layer_report *report)
{
    const dims *from = w->j->d, *to = &w->target.d;
    const int64_t n = 2 * from->G * from->D - to->Dr, width = from->C + 1;
    double *u = rope_rotation(from, to->Dr, &report->division, w->key_gram),
           *joint = joint_projection(from, to->Dr, g, u), *gram = gram_of(joint, w->inputs, n, width),
           *down = matrix_new(to->R, n), *up = matrix_new(n, to->R), *q_down = NULL, *q_up = NULL,
           *rotary = gram_of(u, w->key_gram, to->Dr, from->G * from->D), rope_energy = 0;
    metric_axes(from, to->Dr, to->R, g, u, w->query_grams, gram, down, up);
    if (to->Rq) {
        q_down = matrix_new(to->Rq, from->H * from->D), q_up = matrix_new(from->H * from->D, to->Rq);
        query_axes(from, to->Rq, g, w->inputs, q_down, q_up);
    }
    mla_layer layer;
    dims shape = *to;
    mla_layer_build(&layer, from, &shape, g,
                    &(layer_basis){.u = u, .down = down, .up = up, .q_down = q_down, .q_up = q_up});
    mla_layer_balance(&layer, &w->target.d);
    mla_layer_write(&layer, &w->target, 0);
    mla_layer_free(&layer);
    for (int64_t i = 0; i < to->Dr; i++) rope_energy += rotary[i * to->Dr + i];
    energy_kept(from, to->Dr, to->R, gram, down, up, rope_energy, &report->key_share, &report->value_share);
    double *const all[] = {u, joint, gram, down, up, q_down, q_up, rotary};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void measure_latents(conversion_work *w, latent_sums *sums, bool constant_last)
{
    const text_share *t = &w->text;
    model *m = &w->target;
    layer_acts *a = &m->acts[0];
    memset(sums, 0, sizeof *sums * LATENT_KINDS);
    EACH_CHUNK(c, t)
    {
        chunk_upload(m, &a->x, w->converted, c);
        m->k->rmsnorm_forward(&m->s.h, &a->attn_rstd, &a->x, &m->w.layer[0].attn_norm, m->d.norm_eps,
                              m->k->stream);
        for (int kind = 0; kind < latent_kinds(&m->d); kind++) {
            const bool kv = kind == LATENT_KV;
            tensor out = kv ? a->kv_a : a->q_latent;
            const layer_weights *l = &m->w.layer[0];
            m->k->matmul_forward(&out, &m->s.h, kv ? &l->wkv_a : &l->wq_a, kv ? optional(&l->bkv_a) : NULL,
                                 m->k->stream);
            const tensor latent = tensor_slice(&out, 0, kv ? m->d.R : m->d.Rq);
            chunk_read(m, w->a, &latent, c);
            latent_sums_add(&sums[kind], w->a, c.rows, latent.dim[1], constant_last);
        }
    }
    comm_sum_f64(w->j->c, (double *)sums, LATENT_KINDS * (int64_t)(sizeof *sums / sizeof(double)));
}

static void write_norms(conversion_work *w, latent_sums *sums, bool constant_last)
{
    measure_latents(w, sums, constant_last);
    for (int kind = 0; kind < latent_kinds(&w->target.d); kind++)
        norm_weight_write(&w->target, 0, (latent_kind)kind, &sums[kind]);
}

/* The layer's weights, between two tries. */
static float *weights_save(const model *m)
{
    float *saved = malloc(sizeof *saved * (size_t)m->w.unit[1].dim[0]);
    if (!saved) die(ERR_DEVICE, "conversion: no memory for a layer");
    m->k->download(saved, &m->w.unit[1], m->k->stream);
    return saved;
}

static void weights_restore(model *m, const float *saved)
{
    m->k->upload(&m->w.unit[1], saved, m->k->stream);
}

/* The plain norm, or the one with the constant channel: whichever attention can be brought closer. */
static void insert_norms(conversion_work *w, layer_report *report)
{
    model *m = &w->target;
    const int64_t width = m->d.C + 1;
    latent_sums sums[LATENT_KINDS];
    write_norms(w, sums, false);
    report->latent_rms = sqrt(sums[LATENT_KV].square / sums[LATENT_KV].tokens);
    m->d.latent_norm = w->j->how->latent_norm;
    report->channel_error = (double)NAN;
    if (!m->d.latent_norm) return;
    const double plain = error_after_refit(w);
    float *saved = weights_save(m);

    double *weighted = matrix_new(width, width);
    for (int64_t i = 0; i < width * width; i++) weighted[i] = w->inputs[i] + (FIRST_WEIGHT - 1) * w->first[i];
    report->channel_error = constant_channel_write(m, 0, weighted, sums);
    free(weighted);
    write_norms(w, sums, true);
    if (error_after_refit(w) <= plain) {
        report->latent_rms = sqrt(sums[LATENT_KV].square / sums[LATENT_KV].tokens);
    } else {
        report->channel_error = (double)NAN;
        weights_restore(m, saved);
    }
    free(saved);
}

/* ---- 3 o_proj -------------------- */

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

/* ---- 4 the result -------------------- */

/* Every rank goes on with rank 0's weights, rounded as they will be read again. */
static void settle(conversion_work *w)
{
    model *m = &w->target;
    const int64_t count = m->w.unit[1].dim[0];
    float *values = weights_save(m);
    comm_broadcast(w->j->c, values, count * (int64_t)sizeof *values, 0);
    floats_round(values, count, w->j->storage);
    weights_restore(m, values);
    free(values);
}

static void converted_forward(conversion_work *w)
{
    const text_share *t = &w->text;
    model *m = &w->target;
    layer_acts *a = &m->acts[0];
    EACH_CHUNK(c, t)
    {
        chunk_upload(m, &a->x, w->converted, c);
        chunk_upload(m, &a->heads, w->heads, c);
        m->k->matmul_forward(&m->s.delta, &a->heads, &m->w.layer[0].wo, NULL, m->k->stream);
        m->k->residual_forward(&a->mid, &a->x, &m->s.delta, m->k->stream);
        m->k->rmsnorm_forward(&m->s.h, &a->mlp_rstd, &a->mid, &m->w.layer[0].mlp_norm, m->d.norm_eps,
                              m->k->stream);
        ffn_forward(m, 0, a);
        m->k->residual_forward(&m->last, &a->mid, &m->s.delta, m->k->stream);
        chunk_download(m, w->converted, &m->last, c);
    }
}

/* ---- held-out text -------------------- */

static void follow(conversion_work *w, convert_step step)
{
    held_out_stream *f = &w->follow[step];
    if (f->x) stream_advance(f->x, &w->held_out, &f->m);
}

static void follow_rope(conversion_work *w, const gqa_layer *g, const rope_division *division)
{
    held_out_stream *f = &w->follow[STEP_ROPE];
    if (!f->x) return;
    const dims *from = w->j->d;
    double *u = rope_rotation(from, f->m.d.Dr, division, w->key_gram);
    mla_layer layer;
    copy_common(&f->m, &w->source);
    mla_layer_build(&layer, from, &f->m.d, g, &(layer_basis){.u = u});
    mla_layer_write(&layer, &f->m, 0);
    mla_layer_free(&layer);
    free(u);
    follow(w, STEP_ROPE);
}

/* ---- all of it -------------------- */

/* Of the layer's inputs, whose sums are the same on every rank. */
static status check_finite(const conversion_work *w, double energy, int64_t layer, message *why)
{
    const int64_t width = w->j->d->C + 1;
    bool good = isfinite(energy);
    for (int64_t i = 0; i < width * width; i++) good = good && isfinite(w->inputs[i]);
    if (good) return OK;
    return fail(why, ERR_INPUT,
                "layer %lld: on the calibration text its input or its attention's output is not finite: this "
                "layer or one before "
                "it is damaged",
                (long long)layer);
}

static status convert_layer(conversion_work *w, int64_t layer, layer_report *report, message *why)
{
    const double start = clock_seconds();
    gqa_layer g;
    gqa_layer_read(&g, &w->source, 0);
    follow(w, STEP_ORIGINAL);
    const double energy = original_forward(w);
    w->target.d.latent_norm = false;
    copy_common(&w->target, &w->source);
    measure_inputs(w);
    const status finite = check_finite(w, energy, layer, why);
    if (finite != OK) {
        gqa_layer_free(&g);
        return finite;
    }
    w->key_gram = gram_of(g.wk, w->inputs, w->j->d->G * w->j->d->D, w->j->d->C + 1);
    w->query_grams = query_grams(w->j->d, &g, w->inputs);
    const int64_t freqfold = w->j->how->freqfold;
    report->division = freqfold ? rope_uniform(w->j->d, freqfold)
                                : rope_divide(w->j->d, w->target.d.Dr, w->key_gram, w->query_grams);
    cut(w, &g, report);
    follow_rope(w, &g, &report->division);
    follow(w, STEP_CUT);
    insert_norms(w, report);
    follow(w, STEP_NORM);
    settle(w); /* before o_proj is fitted to what comes out of them */
    refit_output(w, energy, report);
    settle(w);
    follow(w, STEP_FINAL);
    converted_forward(w);
    gqa_layer_free(&g);
    free(w->key_gram);
    free(w->query_grams);
    report->seconds = clock_seconds() - start;
    return OK;
}

static void work_init(conversion_work *w, const layers_job *j)
{
    const dims *d = j->d, whole = convert_dims(d, j->how), of_source = one_layer(*d, true),
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

    if (!j->held_out->windows) return;
    text_share_init(&w->held_out, j->held_out, j->c);
    convert_settings full = *j->how;
    full.rank = 2 * d->G * d->D - full.rope, full.q_rank = 0, full.latent_norm = false;
    const dims rope = convert_dims(d, &full), of_rope = one_layer(rope, false);
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

static void work_free(conversion_work *w)
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
                         w->inputs,   w->first,     w->a,      w->b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void embed(conversion_work *w)
{
    stream_embed(w->original, &w->text, &w->source);
    memcpy(w->converted, w->original, sizeof *w->original * (size_t)(w->text.rows * w->j->d->C));
    held_out_stream *first = &w->follow[STEP_ORIGINAL];
    if (!first->x) return;
    stream_embed(first->x, &w->held_out, &first->m);
    for (int step = STEP_ROPE; step < CONVERT_STEPS; step++)
        if (w->follow[step].x)
            memcpy(w->follow[step].x, first->x, sizeof *first->x * (size_t)(w->held_out.rows * w->j->d->C));
}

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
    status s = model_reader_open(&f->in, j->source, &f->source, ops_cpu_f32(), why);
    f->reading = s == OK;
    if (s == OK && j->c->rank == 0) {
        s = model_writer_open(&f->out, j->folder, &f->target, ops_cpu_f32(), j->storage, MODEL_FILE_BYTES,
                              why);
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

static status run_layers(conversion_work *w, conversion_files *f, layers_report *report, message *why)
{
    const layers_job *j = w->j;
    const int last = (int)j->d->L + 1;
    TRY(read_unit(f, j, 0, &w->source.w.unit[0], why));
    TRY(read_unit(f, j, last, &w->source.w.unit[2], why));
    TRY(write_unit(f, j, 0, &w->source.w.unit[0], why));
    embed(w);
    const double began = clock_seconds();
    for (int64_t l = 0; l < j->d->L; l++) {
        layer_report *r = &report->layer[l];
        TRY(read_unit(f, j, (int)l + 1, &w->source.w.unit[1], why));
        TRY(convert_layer(w, l, r, why));
        TRY(write_unit(f, j, (int)l + 1, &w->target.w.unit[1], why));
        say_layer(l, j->d->L, r, began);
    }
    TRY(write_unit(f, j, last, &w->source.w.unit[2], why));
    report->loss_source = stream_loss(w->original, &w->text, &w->source, j->c);
    report->loss_mla = stream_loss(w->converted, &w->text, &w->source, j->c);
    for (int step = 0; step < CONVERT_STEPS; step++) {
        const held_out_stream *s = &w->follow[step];
        report->held_out[step] =
            s->x ? stream_loss(s->x, &w->held_out, &w->follow[STEP_ORIGINAL].m, j->c) : (double)NAN;
    }
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
    *report = (layers_report){.layer = calloc((size_t)j->d->L, sizeof *report->layer), .layers = j->d->L};
    if (!report->layer) die(ERR_DEVICE, "no memory for %lld layers", (long long)j->d->L);
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
