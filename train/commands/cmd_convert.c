/* remla convert SRC DST: a GQA folder to an MLA folder. DST appears whole or not at all: it is written
 * beside and renamed. */
#include "base/file.h"
#include "base/log.h"
#include "model/convert/convert.h"
#include "model/hf/model_files.h"
#include "train/commands/commands.h"
#include "train/conversion/job.h"
#include "data/tokenizer_check.h"
#include <stdio.h>
#include <string.h>

/* ---- what is asked for -------------------- */

/* A stock DeepSeek-V3 model has a bias on q_a_proj and none on q_proj or q_b_proj: queries with a bias need a
 * latent. It holds all that they are but for one dimension. */
static int64_t query_latent(const convert_job *j)
{
    const dims *d = &j->config.d;
    if (j->o->convert_q_lora_rank || j->layout == LAYOUT_TRANSMLA || !d->q_bias)
        return j->o->convert_q_lora_rank;
    const int64_t rank = d->H * d->D < d->C ? d->H * d->D : d->C;
    log_line("queries have biases: they get a latent of %lld, whose norm keeps them (convert.q_lora_rank)",
             (long long)rank);
    return rank;
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
        .q_rank = query_latent(j),
        .freqfold = o->convert_freqfold,
        .balance = (convert_balance)o->convert_balance,
        .latent_norm = o->convert_latent_norm || j->layout == LAYOUT_DEEPSEEK,
        .stock = j->layout == LAYOUT_DEEPSEEK,
    };
    TRY(model_check(j->source, d, why));
    TRY(convert_check(d, &j->how, why));
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

static void job_close(convert_job *j)
{
    temporary_close(&j->temporary);
    dataset_close(&j->calib);
    dataset_close(&j->held_out);
    config_free(&j->config);
}

/* convert.balance is a setting of TransMLA's method, and asks for it where convert.method does not say. That
 * method writes what TransMLA writes where convert.layout does not say. */
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
    j->layout = option_is_set(o, "convert.layout") || j->method == METHOD_REMLA
                    ? (config_layout)o->convert_layout
                    : LAYOUT_TRANSMLA;
    return OK;
}

status cmd_convert(const command_line *line, options *o, const comm *c, message *why)
{
    convert_job j = {.o = o, .c = c, .source = line->positional[0], .temporary = {.lock = -1}};
    TRY(choose_method(&j, why));
    if (j.method == METHOD_TRANSMLA && (c->size > 1 || line->plan))
        return fail(why, ERR_USAGE, "convert.method=transmla %s",
                    c->size > 1 ? "runs on one rank: start it without mpirun" : "has no plan");
    if (snprintf(j.target, sizeof j.target, "%s", line->positional[1]) >= (int)sizeof j.target)
        return fail(why, ERR_USAGE, "%s: the path is too long", line->positional[1]);
    for (size_t end = strlen(j.target); end > 1 && j.target[end - 1] == '/'; end--)
        j.target[end - 1] = 0; /* the temporary folder's name is made from it */
    status s = comm_agree(c, job_open(&j, why), why);
    if (s == OK && c->rank == 0 && !line->plan) s = temporary_open(&j.temporary, j.target, why);
    s = comm_agree(c, s, why);
    if (s == OK) s = convert_run(&j, line->plan, why);
    job_close(&j);
    return s;
}
