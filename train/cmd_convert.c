/* remla convert SRC DST: a GQA folder to an MLA folder. DST appears whole or not at all: it is written
 * beside and renamed. */
#include "base/file.h"
#include "base/log.h"
#include "kernels/machine.h"
#include "model/config.h"
#include "model/convert.h"
#include "model/convert_layers.h"
#include "model/model_files.h"
#include "train/commands.h"
#include "train/conversion_record.h"
#include "train/evaluate.h"
#include "train/tokenizer_check.h"
#include "train/training.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EVALUATION_ROWS = 2048 };

typedef struct convert_job {
    const options *o;
    const comm *c;
    convert_method method;
    const char *source;
    char target[PATH_BYTES];
    char temporary[PATH_BYTES]; /* beside it */
    convert_settings how;
    model_config config;     /* of the source */
    dtype storage;           /* of the result */
    dataset calib, held_out; /* held_out.windows is 0 without data.val */
} convert_job;

/* ---- what is asked for -------------------- */

static status check_layout(const convert_job *j, message *why)
{
    const dims *d = &j->config.d;
    if (j->o->convert_layout == LAYOUT_DEEPSEEK && (d->q_bias || d->k_bias || d->v_bias))
        return fail(why, ERR_USAGE,
                    "convert.layout=deepseek: %s has biases on q_proj, k_proj or v_proj; a stock DeepSeek-V3 "
                    "model has no place for that of the queries: use convert.layout=transmla",
                    j->source);
    return OK;
}

static status check_window(const char *key, int64_t T, const dims *d, message *why)
{
    if (d->window && T > d->window)
        return fail(why, ERR_USAGE,
                    "%s=%lld is longer than the model's sliding_window of %lld: windows with a sliding mask "
                    "are not supported",
                    key, (long long)T, (long long)d->window);
    return OK;
}

/* Windows of held-out text: train.seq_len where a person has set it, else as in calibration. */
static int64_t held_out_length(const options *o)
{
    return option_is_set(o, "train.seq_len") ? o->train_seq_len : o->calib_seq_len;
}

static status job_open(convert_job *j, message *why)
{
    const options *o = j->o;
    TRY(folder_check_vacant(j->target, why));
    if (!o->calib_data.count)
        return fail(why, ERR_USAGE, "calib.data is not set: name the shards to calibrate on");
    TRY(config_read(&j->config, j->source, why));
    const dims *d = &j->config.d;
    if (d->kind != ATTENTION_GQA)
        return fail(why, ERR_INPUT, "%s is an MLA model already, with kv_lora_rank %lld", j->source,
                    (long long)d->R);
    const dtype types[] = {[CONVERT_DTYPE_SOURCE] = j->config.storage,
                           [CONVERT_DTYPE_F32] = F32,
                           [CONVERT_DTYPE_BF16] = BF16,
                           [CONVERT_DTYPE_F16] = F16};
    j->storage = types[o->convert_dtype];
    j->how = (convert_settings){
        .rope = o->convert_qk_rope_head_dim,
        .rank = o->convert_kv_lora_rank,
        .q_rank = o->convert_q_lora_rank,
        .freqfold = o->convert_freqfold,
        .balance = (convert_balance)o->convert_balance,
        .latent_norm = o->convert_latent_norm || o->convert_layout == LAYOUT_DEEPSEEK,
    };
    TRY(model_check(j->source, d, why));
    TRY(convert_check(d, &j->how, why));
    TRY(check_layout(j, why));
    TRY(check_window("calib.seq_len", o->calib_seq_len, d, why));
    const dataset_form calib = {.T = o->calib_seq_len, .vocabulary = d->V};
    TRY(dataset_open(&j->calib, "calib.data", (const char *const *)o->calib_data.item, o->calib_data.count,
                     &calib, why));
    TRY(tokenizer_check(&j->calib, "calib.data", j->source, why));
    if (!o->data_val.count) return OK;
    TRY(check_window("train.seq_len", held_out_length(o), d, why));
    const dataset_form held_out = {
        .T = held_out_length(o), .vocabulary = d->V, .document_mask = o->data_document_mask};
    TRY(dataset_open(&j->held_out, "data.val", (const char *const *)o->data_val.item, o->data_val.count,
                     &held_out, why));
    return tokenizer_check(&j->held_out, "data.val", j->source, why);
}

/* The folder is made beside DST, and renamed when it is whole. It is made and removed here once, so that a
 * place that cannot be written shows before hours of work. */
static status target_open(convert_job *j, message *why)
{
    if (snprintf(j->temporary, sizeof j->temporary, "%s.tmp-%d", j->target, (int)getpid()) >=
        (int)sizeof j->temporary) {
        j->temporary[0] = 0;
        return fail(why, ERR_USAGE, "%s: the path is too long", j->target);
    }
    TRY(folder_make(j->temporary, why));
    return folder_remove(j->temporary, why);
}

static void job_close(convert_job *j)
{
    message ignored;
    if (j->temporary[0] && folder_exists(j->temporary)) folder_remove(j->temporary, &ignored);
    dataset_close(&j->calib);
    dataset_close(&j->held_out);
    config_free(&j->config);
}

/* ---- text -------------------- */

/* Which of the windows are read when not all are. */
typedef enum window_choice {
    FIRST_WINDOWS,
    EVEN_WINDOWS /* at even distances over all the text */
} window_choice;

/* `limit` tokens (0: all) in whole windows. */
static status read_windows(host_batch *b, const dataset *data, int64_t limit, window_choice which,
                           message *why)
{
    const int64_t T = data->T, wanted = limit ? (limit + T - 1) / T : data->windows;
    host_batch_init(b, wanted < data->windows ? wanted : data->windows, T);
    int64_t counted = 0;
    status s = OK;
    for (int64_t i = 0; i < b->sequences && s == OK; i++) {
        const int64_t window = which == EVEN_WINDOWS ? i * data->windows / b->sequences : i;
        s = host_batch_read(b, i, data, window, &counted, why);
    }
    if (s != OK) host_batch_free(b);
    return s;
}

/* ---- held-out text -------------------- */

static int64_t held_out_batch(const convert_job *j)
{
    const int64_t wanted = EVALUATION_ROWS / j->held_out.T;
    return wanted < 1 ? 1 : wanted < j->held_out.windows ? wanted : j->held_out.windows;
}

static status evaluate_model(const convert_job *j, model *m, evaluation *e, message *why)
{
    return evaluate(m, &j->held_out, j->o->val_tokens, comm_self(), e, why);
}

/* Of the folder as it is on disk, so that what is printed is what a reader of the folder gets, rounding to
 * its type included. */
static status evaluate_folder(const convert_job *j, const char *folder, evaluation *e, message *why)
{
    model_config config;
    TRY(config_read(&config, folder, why));
    model m;
    model_init(&m, &config.d, ops_cpu_f32(), held_out_batch(j), j->held_out.T, MODEL_EVALUATE, 1);
    status s = model_load(folder, &m.table, &m.w, m.k, why);
    if (s == OK) s = evaluate_model(j, &m, e, why);
    model_free(&m);
    config_free(&config);
    return s;
}

/* ---- the result -------------------- */

/* All but the weights. */
static status begin_folder(const convert_job *j, const dims *d, message *why)
{
    TRY(folder_make(j->temporary, why));
    char path[PATH_BYTES];
    char *text = config_converted(&j->config, d, (config_layout)j->o->convert_layout, j->storage);
    const status s =
        file_write(path_join(path, j->temporary, "config.json"), text, (int64_t)strlen(text), NULL, why);
    free(text);
    TRY(s);
    return tokenizer_copy(j->source, j->temporary, why);
}

static calibration text_of(const host_batch *rows)
{
    return (calibration){
        .windows = rows->sequences, .T = rows->T, .tokens = rows->tokens, .targets = rows->targets};
}

/* TransMLA's steps on whole models; one rank. */
static status convert_whole(const convert_job *j, conversion_record *r, message *why)
{
    evaluation e;
    if (j->held_out.windows) {
        TRY(evaluate_folder(j, j->source, &e, why));
        record_step(r, "original", e.loss, e.tokens);
    }
    host_batch rows;
    TRY(read_windows(&rows, &j->calib, j->o->calib_tokens, EVEN_WINDOWS, why));
    const calibration text = text_of(&rows);
    model source;
    conversion c = {0};
    model_init(&source, &j->config.d, ops_cpu_f32(), calibration_batch(&text), text.T, MODEL_EVALUATE, 1);
    status s = model_load(j->source, &source.table, &source.w, source.k, why);
    if (s == OK) s = conversion_run(&c, &source, &j->how, &text, why);
    if (s == OK && j->held_out.windows) {
        model partial;
        conversion_partial(&c, &partial, held_out_batch(j), j->held_out.T);
        s = evaluate_model(j, &partial, &e, why);
        if (s == OK) record_step(r, "partial RoPE", e.loss, e.tokens);
        model_free(&partial);
    }
    if (s == OK) s = begin_folder(j, &c.mla.d, why);
    if (s == OK)
        s = model_save(j->temporary, &c.mla.table, &c.mla.w, c.mla.k, j->storage, MODEL_FILE_BYTES, why);
    if (s == OK && j->held_out.windows) s = evaluate_folder(j, j->temporary, &e, why);
    if (s == OK && j->held_out.windows) record_step(r, "MLA", e.loss, e.tokens);
    r->freqfold = c.chosen.freqfold;
    r->calibration_tokens = text.windows * text.T;
    r->loss_source = c.loss_source;
    r->loss_mla = c.loss_mla;
    conversion_free(&c);
    model_free(&source);
    host_batch_free(&rows);
    return s;
}

/* Shares of the peak that single and double precision reach here; doubles are half as many to a register. */
#define SHARE_F32 0.6
#define SHARE_F64 0.2

static void print_plan(const layers_job *job)
{
    const layers_plan p = layers_plan_of(job);
    const double GiB = 1 << 30, peak = machine_peak_flops();
    char time[24];
    log_line("text   %lld windows of %lld tokens to calibrate on, %lld held out",
             (long long)job->text->windows, (long long)job->text->T, (long long)job->held_out->windows);
    log_line(
        "memory %.2f GiB a rank: layers, embedding and head %.2f, rows of the text %.2f, linear algebra %.2f",
        (double)(p.weight_bytes + p.text_bytes + p.solve_bytes) / GiB, (double)p.weight_bytes / GiB,
        (double)p.text_bytes / GiB, (double)p.solve_bytes / GiB);
    log_line("time   about %s on these %d threads a rank",
             duration_text(p.flops_f32 / (SHARE_F32 * peak) + p.flops_f64 / (SHARE_F64 * peak), time),
             machine_threads());
}

/* The losses that convert_layers measured. */
static void record_layers(conversion_record *r, const host_batch *held_out)
{
    static const char *const names[CONVERT_STEPS] = {[STEP_ORIGINAL] = "original",
                                                     [STEP_ROPE] = "partial RoPE",
                                                     [STEP_CUT] = "low rank",
                                                     [STEP_NORM] = "latent norms",
                                                     [STEP_FINAL] = "MLA"};
    int64_t counted = 0;
    for (int64_t i = 0; i < held_out->sequences * held_out->T; i++) counted += held_out->targets[i] >= 0;
    for (int step = 0; step < CONVERT_STEPS; step++)
        if (isfinite(r->layers.held_out[step]))
            record_step(r, names[step], r->layers.held_out[step], counted);
}

/* The method of this project, layer by layer. MPI: collective. */
static status convert_by_layers(const convert_job *j, bool plan_only, conversion_record *r, message *why)
{
    const dims to = convert_dims(&j->config.d, &j->how);
    host_batch rows = {0}, held_out = {0};
    status s = read_windows(&rows, &j->calib, j->o->calib_tokens, EVEN_WINDOWS, why);
    if (s == OK && j->held_out.windows)
        s = read_windows(&held_out, &j->held_out, j->o->val_tokens, FIRST_WINDOWS, why);
    const calibration text = text_of(&rows);
    calibration val = text_of(&held_out);
    val.first = held_out.first;
    const layers_job job = {.source = j->source,
                            .d = &j->config.d,
                            .how = &j->how,
                            .text = &text,
                            .held_out = &val,
                            .storage = j->storage,
                            .folder = j->temporary,
                            .c = j->c};
    if (s == OK) s = layers_text_check(&job, why);
    s = comm_agree(j->c, s, why);
    if (s == OK) print_plan(&job);
    if (s == OK && !plan_only) {
        if (j->c->rank == 0) s = begin_folder(j, &to, why);
        s = comm_agree(j->c, s, why);
        if (s == OK) s = convert_layers(&job, &r->layers, why);
        if (s == OK) record_layers(r, &held_out);
    }
    r->calibration_tokens = text.windows * text.T;
    r->loss_source = r->layers.loss_source;
    r->loss_mla = r->layers.loss_mla;
    host_batch_free(&rows);
    host_batch_free(&held_out);
    return s;
}

static status convert(convert_job *j, bool plan_only, message *why)
{
    const double start = clock_seconds();
    const dims to = convert_dims(&j->config.d, &j->how);
    conversion_record r = {.method = j->method,
                           .source = j->source,
                           .how = &j->how,
                           .layout = (config_layout)j->o->convert_layout,
                           .storage = j->storage,
                           .calib_seq_len = j->calib.T,
                           .freqfold = j->how.freqfold,
                           .bytes_before = kv_bytes_per_token(&j->config.d),
                           .bytes_after = kv_bytes_per_token(&to)};
    status s =
        j->method == METHOD_REMLA ? convert_by_layers(j, plan_only, &r, why) : convert_whole(j, &r, why);
    r.seconds = clock_seconds() - start;
    if (s == OK && !plan_only) {
        if (j->c->rank == 0) s = conversion_record_write(&r, j->temporary, why);
        if (j->c->rank == 0 && s == OK) s = folder_commit(j->temporary, j->target, why);
        s = comm_agree(j->c, s, why);
    }
    if (s == OK && !plan_only && j->c->rank == 0) s = conversion_print(j->target, why);
    layers_report_free(&r.layers);
    return s;
}

/* convert.balance is a setting of TransMLA's method, and asks for it where convert.method does not say. */
static status choose_method(convert_job *j, message *why)
{
    const options *o = j->o;
    const bool balance = option_is_set(o, "convert.balance"), method = option_is_set(o, "convert.method");
    j->method = balance && !method ? METHOD_TRANSMLA : (convert_method)o->convert_method;
    if (balance && j->method == METHOD_REMLA)
        return fail(
            why, ERR_USAGE,
            "convert.balance is a setting of convert.method=transmla; the method remla weighs keys and "
            "values by what they do to the attention");
    if (balance && !method)
        log_line("convert.balance is set: converting by the steps of TransMLA (convert.method)");
    return OK;
}

status cmd_convert(const command_line *line, options *o, const comm *c, message *why)
{
    convert_job j = {.o = o, .c = c, .source = line->positional[0]};
    TRY(choose_method(&j, why));
    if (j.method == METHOD_TRANSMLA && (c->size > 1 || line->plan))
        return fail(why, ERR_USAGE, "convert.method=transmla %s",
                    c->size > 1 ? "runs on one rank: start it without mpirun" : "has no plan");
    if (snprintf(j.target, sizeof j.target, "%s", line->positional[1]) >= (int)sizeof j.target)
        return fail(why, ERR_USAGE, "%s: the path is too long", line->positional[1]);
    for (size_t end = strlen(j.target); end > 1 && j.target[end - 1] == '/'; end--)
        j.target[end - 1] = 0; /* the temporary folder's name is made from it */
    status s = comm_agree(c, job_open(&j, why), why);
    if (s == OK && c->rank == 0 && !line->plan) s = target_open(&j, why);
    s = comm_agree(c, s, why);
    if (s == OK) s = convert(&j, line->plan, why);
    job_close(&j);
    return s;
}
