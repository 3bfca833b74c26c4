/* The two methods of conversion, and what they leave in the folder. */
#include "base/clock.h"
#include "train/conversion/job.h"
#include "base/log.h"
#include "model/convert/convert.h"
#include "model/hf/model_files.h"
#include "train/conversion/plan.h"
#include "train/conversion/record.h"
#include "eval/evaluate.h"
#include "train/conversion/readers.h"
#include <stdlib.h>
#include <string.h>

enum { EVALUATION_ROWS = 2048 };

/* ---- text -------------------- */

/* Which of the windows are read when not all are. */
typedef enum window_choice {
    FIRST_WINDOWS,
    EVEN_WINDOWS /* at even distances over all the text */
} window_choice;

static status read_windows(token_batch *b, const dataset *data, int64_t limit, window_choice which,
                           message *why)
{
    token_batch_init(b, windows_read(data, limit), data->T);
    status s = OK;
    for (int64_t i = 0; i < b->sequences && s == OK; i++) {
        const int64_t window = which == EVEN_WINDOWS ? i * data->windows / b->sequences : i;
        s = dataset_read(data, window, b, i, why);
    }
    if (s != OK) token_batch_free(b);
    return s;
}

/* ---- held-out text -------------------- */

static int64_t held_out_batch(const convert_job *j)
{
    const int64_t wanted = EVALUATION_ROWS / j->held_out.T;
    return wanted < 1 ? 1 : wanted < j->held_out.windows ? wanted : j->held_out.windows;
}

static status evaluate_model(const convert_job *j, const model *m, evaluation *e, message *why)
{
    activations acts;
    activations_init(&acts, &m->d, m->k, held_out_batch(j), j->held_out.T, FORWARD_ONLY);
    const status s =
        evaluate(m, &acts, &j->held_out, option_or(j->o->val_tokens, ALL_TOKENS), comm_self(), e, why);
    activations_free(&acts);
    TRY(s);
    return evaluation_check(e, &j->held_out, why);
}

/* Of the folder as it is on disk, so that what is printed is what a reader of the folder gets, rounding to
 * its type included. */
static status evaluate_folder(const convert_job *j, const char *folder, evaluation *e, message *why)
{
    model_config config;
    TRY(config_read(&config, folder, why));
    model m;
    model_init(&m, &config.d, ops_cpu_f32(), 1);
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
    TRY(folder_make(j->temporary.path, why));
    char path[PATH_BYTES];
    char *text = config_converted(&j->config, d, j->layout, j->storage);
    const status s =
        file_write(path_join(path, j->temporary.path, "config.json"), text, (int64_t)strlen(text), NULL, why);
    free(text);
    TRY(s);
    return tokenizer_copy(j->source, j->temporary.path, NULL, why);
}

static calibration text_of(const token_batch *rows)
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
    token_batch rows;
    TRY(read_windows(&rows, &j->calib, option_or(j->o->calib_tokens, ALL_TOKENS), EVEN_WINDOWS, why));
    const calibration text = text_of(&rows);
    model source;
    conversion c = {0};
    model_init(&source, &j->config.d, ops_cpu_f32(), 1);
    status s = model_load(j->source, &source.table, &source.w, source.k, why);
    if (s == OK) s = conversion_run(&c, &source, &j->how, &text, why);
    if (s == OK && j->held_out.windows) {
        model partial;
        conversion_partial(&c, &partial);
        s = evaluate_model(j, &partial, &e, why);
        if (s == OK) record_step(r, "partial RoPE", e.loss, e.tokens);
        model_free(&partial);
    }
    if (s == OK) s = begin_folder(j, &c.mla.d, why);
    if (s == OK)
        s = model_save(j->temporary.path, &c.mla.table, &c.mla.units, c.mla.k, j->storage, MODEL_FILE_BYTES,
                       why);
    if (s == OK && j->held_out.windows) s = evaluate_folder(j, j->temporary.path, &e, why);
    if (s == OK && j->held_out.windows) record_step(r, "MLA", e.loss, e.tokens);
    r->freqfold = c.chosen.freqfold;
    r->calibration_tokens = text.windows * text.T;
    r->loss_source = c.loss_source;
    r->loss_mla = c.loss_mla;
    conversion_free(&c);
    model_free(&source);
    token_batch_free(&rows);
    return s;
}

/* The losses that convert_layers measured. */
static void record_layers(conversion_record *r, int64_t counted)
{
    static const char *const names[CONVERT_STEPS] = {[STEP_ORIGINAL] = "original",
                                                     [STEP_ROPE] = "partial RoPE",
                                                     [STEP_CUT] = "low rank",
                                                     [STEP_NORM] = "latent norms",
                                                     [STEP_FINAL] = "MLA"};
    for (int step = 0; step < CONVERT_STEPS; step++)
        if (step != STEP_NORM || r->how->latent_norm)
            record_step(r, names[step], r->layers.held_out[step], counted);
}

/* Both texts, with at least one target that counts in the one to be held out. */
static status read_texts(const convert_job *j, token_batch *rows, token_batch *held_out, int64_t *counted,
                         message *why)
{
    TRY(read_windows(rows, &j->calib, option_or(j->o->calib_tokens, ALL_TOKENS), EVEN_WINDOWS, why));
    if (!j->held_out.windows) return OK;
    TRY(read_windows(held_out, &j->held_out, option_or(j->o->val_tokens, ALL_TOKENS), FIRST_WINDOWS, why));
    for (int64_t i = 0; i < held_out->sequences * held_out->T; i++) *counted += held_out->targets[i] >= 0;
    if (*counted) return OK;
    return fail(why, ERR_INPUT, "%s: no target counts in %lld windows of %lld tokens",
                j->held_out.shard[0].path, (long long)held_out->sequences, (long long)held_out->T);
}

/* The method of this project, layer by layer. What it takes is said before any text is read. */
static status convert_by_layers(const convert_job *j, bool plan_only, conversion_record *r, message *why)
{
    const dims to = convert_dims(&j->config.d, &j->how);
    const int64_t calib_tokens = option_or(j->o->calib_tokens, ALL_TOKENS),
                  val_tokens = option_or(j->o->val_tokens, ALL_TOKENS);
    calibration text = {.T = j->calib.T, .windows = windows_read(&j->calib, calib_tokens)}, val = {0};
    if (j->held_out.windows)
        val = (calibration){.T = j->held_out.T, .windows = windows_read(&j->held_out, val_tokens)};
    const layers_job job = {.source = j->source,
                            .d = &j->config.d,
                            .how = &j->how,
                            .text = &text,
                            .held_out = &val,
                            .storage = j->storage,
                            .folder = j->temporary.path,
                            .c = j->c};
    TRY(layers_text_check(&job, why));
    TRY(conversion_plan(&job, plan_only, why));
    if (plan_only) return OK;

    token_batch rows = {0}, held_out = {0};
    int64_t counted = 0;
    status s = comm_agree(j->c, read_texts(j, &rows, &held_out, &counted, why), why);
    text = text_of(&rows);
    val = text_of(&held_out);
    val.first = held_out.first;
    if (s == OK && j->c->rank == 0) s = begin_folder(j, &to, why);
    s = comm_agree(j->c, s, why);
    if (s == OK) s = convert_layers(&job, &r->layers, why);
    if (s == OK && counted) record_layers(r, counted);
    r->calibration_tokens = text.windows * text.T;
    r->loss_source = r->layers.loss_source;
    r->loss_mla = r->layers.loss_mla;
    token_batch_free(&rows);
    token_batch_free(&held_out);
    return s;
}

/* ---- all of it -------------------- */

static status say_result(const convert_job *j, message *why)
{
    TRY(conversion_print(j->target, why));
    if (j->config.d.window && j->layout == LAYOUT_DEEPSEEK)
        log_line("the original attends to the last %lld positions only (sliding_window), the result to all",
                 (long long)j->config.d.window);
    model_config written;
    TRY(config_read(&written, j->target, why));
    readers_print(&written);
    config_free(&written);
    return OK;
}

status convert_run(convert_job *j, bool plan_only, message *why)
{
    const double start = clock_seconds();
    const dims to = convert_dims(&j->config.d, &j->how);
    conversion_record r = {.method = j->method,
                           .source = j->source,
                           .how = &j->how,
                           .layout = j->layout,
                           .storage = j->storage,
                           .calib_data = &j->o->calib_data,
                           .held_out_data = &j->o->data_val,
                           .calib_seq_len = j->calib.T,
                           .freqfold = j->how.freqfold,
                           .bytes_before = kv_bytes_per_token(&j->config.d),
                           .bytes_after = kv_bytes_per_token(&to)};
    status s =
        j->method == METHOD_REMLA ? convert_by_layers(j, plan_only, &r, why) : convert_whole(j, &r, why);
    r.seconds = clock_seconds() - start;
    if (s == OK && !plan_only) {
        if (j->c->rank == 0) s = conversion_record_write(&r, j->temporary.path, why);
        if (j->c->rank == 0 && s == OK) s = temporary_commit(&j->temporary, j->target, why);
        s = comm_agree(j->c, s, why);
    }
    if (s == OK && !plan_only && j->c->rank == 0) s = say_result(j, why);
    layers_report_free(&r.layers);
    return s;
}
