/* A run of `remla convert`: texts are read into memory, model/convert/ converts (layerwise.h), and around the
 * weights that it writes a folder is made: config.json, tokenizer, record. */
#include "base/clock.h"
#include "train/conversion/job.h"
#include "base/log.h"
#include "model/convert/convert.h"
#include "model/hf/model_files.h"
#include "model/hf/tokenizer_files.h"
#include "train/conversion/plan.h"
#include "train/conversion/record.h"
#include "eval/evaluate.h"
#include "train/conversion/readers.h"
#include <stdlib.h>
#include <string.h>

/* ---- text -------------------- */

/* Which of the windows are read when not all are. */
typedef enum window_choice {
    FIRST_WINDOWS,
    EVEN_WINDOWS /* at even distances over all the text */
} window_choice;

static status read_windows(token_batch *b, const dataset *data, int64_t limit, window_choice which,
                           message *why)
{
    token_batch_init(b, evaluate_windows(data, limit), data->T);
    status s = OK;
    for (int64_t i = 0; i < b->sequences && s == OK; i++) {
        const int64_t window = which == EVEN_WINDOWS ? i * data->samples / b->sequences : i;
        s = dataset_read(data, window, b, i, why);
    }
    if (s != OK) token_batch_free(b);
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
    return tokenizer_files_copy(j->source, j->temporary.path, NULL, why);
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
        if (r->layers.held_out[step].measured)
            record_step(r, names[step], r->layers.held_out[step].loss, counted);
}

/* Both texts, with at least one target that counts in the one to be held out. */
static status read_texts(const convert_job *j, token_batch *text, token_batch *held_out, message *why)
{
    TRY(read_windows(text, &j->calib, option_or(j->o->calib_tokens, ALL_TOKENS), EVEN_WINDOWS, why));
    if (!j->held_out.samples) return OK;
    TRY(read_windows(held_out, &j->held_out, option_or(j->o->val_tokens, ALL_TOKENS), FIRST_WINDOWS, why));
    if (token_batch_counted(held_out)) return OK;
    return fail(why, ERR_INPUT, "%s: no target counts in %lld windows of %lld tokens",
                j->held_out.shard[0].path, (long long)held_out->sequences, (long long)held_out->T);
}

static status convert(const convert_job *j, bool plan_only, conversion_record *r, message *why)
{
    const dims to = convert_dims(&j->config.d, &j->settings);
    const int64_t calib_tokens = option_or(j->o->calib_tokens, ALL_TOKENS),
                  val_tokens = option_or(j->o->val_tokens, ALL_TOKENS);
    token_batch text = {.T = j->calib.T, .sequences = evaluate_windows(&j->calib, calib_tokens)},
                held_out = {0};
    if (j->held_out.samples)
        held_out = (token_batch){.T = j->held_out.T, .sequences = evaluate_windows(&j->held_out, val_tokens)};
    const layers_job job = {.method = j->method,
                            .k = ops_cpu_f32(),
                            .source = j->source,
                            .d = &j->config.d,
                            .settings = &j->settings,
                            .text = &text,
                            .held_out = &held_out,
                            .storage = j->storage,
                            .folder = j->temporary.path,
                            .c = j->c};
    /* What it takes is said before any text is read: so far both have a size alone. */
    TRY(layers_text_check(&job, why));
    TRY(conversion_plan(&job, plan_only, why));
    if (plan_only) return OK;

    status s = comm_agree(j->c, read_texts(j, &text, &held_out, why), why);
    if (s == OK && j->c->rank == 0) s = begin_folder(j, &to, why);
    s = comm_agree(j->c, s, why);
    if (s == OK) s = convert_layers(&job, &r->layers, why);
    if (s == OK) record_layers(r, token_batch_counted(&held_out));
    r->calibration_tokens = text.sequences * text.T;
    token_batch_free(&text);
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
    const dims to = convert_dims(&j->config.d, &j->settings);
    conversion_record r = {.method = j->method,
                           .source = j->source,
                           .settings = &j->settings,
                           .layout = j->layout,
                           .storage = j->storage,
                           .calib_data = &j->o->calib_data,
                           .held_out_data = &j->o->data_val,
                           .calib_seq_len = j->calib.T,
                           .bytes_before = kv_bytes_per_token(&j->config.d),
                           .bytes_after = kv_bytes_per_token(&to)};
    status s = convert(j, plan_only, &r, why);
    r.seconds = clock_seconds() - start;
    if (s == OK && !plan_only) {
        if (j->c->rank == 0) s = conversion_record_write(&r, j->temporary.path, why);
        if (j->c->rank == 0 && s == OK) s = temporary_folder_commit(&j->temporary, j->target, why);
        s = comm_agree(j->c, s, why);
    }
    if (s == OK && !plan_only && j->c->rank == 0) s = say_result(j, why);
    layers_report_free(&r.layers);
    return s;
}
