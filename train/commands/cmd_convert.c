/* remla convert SRC DST: a GQA folder to an MLA folder. DST appears whole or not at all: it is written
 * beside and renamed. */
#include "base/file.h"
#include "base/log.h"
#include "data/tokenizer_check.h"
#include "eval/open.h"
#include "model/convert/convert.h"
#include "train/commands/commands.h"
#include "train/conversion/job.h"
#include "train/eval_options.h"
#include "train/feed_options.h"
#include <stdio.h>

/* ---- words --------------------------------------------------------------------------------------------- */

/* Each as train/option_words.c does it. What auto becomes stands behind the switch. */
static convert_method method_of(const options *o)
{
    switch (o->convert_method) {
    case OPTION_convert_method_remla:
        return METHOD_REMLA;
    case OPTION_convert_method_transmla:
        return METHOD_TRANSMLA;
    case OPTION_convert_method_auto:
        break;
    }
    return o->convert_balance == OPTION_convert_balance_auto ? METHOD_REMLA : METHOD_TRANSMLA;
}

static convert_balance balance_of(const options *o)
{
    switch (o->convert_balance) {
    case OPTION_convert_balance_transmla:
        return BALANCE_TRANSMLA;
    case OPTION_convert_balance_none:
        return BALANCE_NONE;
    case OPTION_convert_balance_norm:
    case OPTION_convert_balance_auto:
        break;
    }
    return BALANCE_NORM;
}

static config_layout layout_of(const options *o, convert_method method)
{
    switch (o->convert_layout) {
    case OPTION_convert_layout_deepseek:
        return LAYOUT_DEEPSEEK;
    case OPTION_convert_layout_transmla:
        return LAYOUT_TRANSMLA;
    case OPTION_convert_layout_auto:
        break;
    }
    return method == METHOD_REMLA ? LAYOUT_DEEPSEEK : LAYOUT_TRANSMLA;
}

static dtype storage_of(const options *o, dtype source)
{
    switch (o->convert_dtype) {
    case OPTION_convert_dtype_f32:
        return F32;
    case OPTION_convert_dtype_bf16:
        return BF16;
    case OPTION_convert_dtype_f16:
        return F16;
    case OPTION_convert_dtype_source:
        break;
    }
    return source;
}

/* What became of the words auto, in one line. */
static void say_choices(const convert_job *j)
{
    const options *o = j->o;
    const bool transmla = j->method == METHOD_TRANSMLA;
    char text[200] = "";
    size_t used = 0;
    const struct {
        bool is_auto;
        const char *became;
    } choices[] = {
        {o->convert_method == OPTION_convert_method_auto,
         transmla ? "convert.method=transmla (convert.balance is set)" : "convert.method=remla"},
        {o->convert_layout == OPTION_convert_layout_auto,
         j->layout == LAYOUT_DEEPSEEK ? "convert.layout=deepseek" : "convert.layout=transmla"},
        {o->convert_balance == OPTION_convert_balance_auto && transmla, "convert.balance=norm"},
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (choices[i].is_auto)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "",
                                     choices[i].became);
    if (used) log_line("auto   %s", text);
}

/* Method and layout. */
static status choose(convert_job *j, message *why)
{
    const options *o = j->o;
    j->method = method_of(o);
    j->layout = layout_of(o, j->method);
    if (j->method == METHOD_REMLA && o->convert_balance != OPTION_convert_balance_auto)
        return fail(why, ERR_USAGE,
                    "convert.balance does not go with convert.method=remla, which weighs keys and values by "
                    "what they do to the attention: it is a setting of convert.method=transmla");
    say_choices(j);
    return OK;
}

/* ---- settings ------------------------------------------------------------------------------------------ */

/* A stock DeepSeek-V3 model has a bias on q_a_proj and none on q_proj or q_b_proj: queries with a bias need a
 * latent. It holds all that they are but for one dimension. */
static int64_t query_latent(const convert_job *j)
{
    const dims *d = &j->config.d;
    if (j->o->convert_q_lora_rank.word == OPTION_NUMBER) return j->o->convert_q_lora_rank.number;
    if (j->layout == LAYOUT_TRANSMLA || !d->q_bias) return 0;
    const int64_t rank = d->H * d->D < d->C ? d->H * d->D : d->C;
    log_line("queries have biases: they get a latent of %lld, whose norm keeps them (convert.q_lora_rank)",
             (long long)rank);
    return rank;
}

static status job_open(convert_job *j, message *why)
{
    const options *o = j->o;
    TRY(folder_check_vacant(j->target, why));
    if (!o->calib_data.count)
        return fail(why, ERR_USAGE, "calib.data is not set: name the shards to calibrate on");
    TRY(model_folder_read(&j->config, j->source, why));
    const dims *d = &j->config.d;
    if (d->kind != ATTENTION_GQA)
        return fail(why, ERR_INPUT, "%s is an MLA model already, with kv_lora_rank %lld", j->source,
                    (long long)d->R);
    j->storage = storage_of(o, j->config.storage);
    j->settings = (convert_settings){
        .rope = o->convert_qk_rope_head_dim,
        .rank = o->convert_kv_lora_rank,
        .q_rank = query_latent(j),
        .freqfold = option_or(o->convert_freqfold, 0),
        .balance = balance_of(o),
        .latent_norm = o->convert_latent_norm || j->layout == LAYOUT_DEEPSEEK,
        .stock = j->layout == LAYOUT_DEEPSEEK,
    };
    TRY(convert_check(d, &j->settings, why));
    TRY(dims_check_length(d, "calib.seq_len", o->calib_seq_len, why));
    const dataset_form calib = {.T = o->calib_seq_len, .vocabulary = d->V};
    TRY(dataset_open(&j->calib, "calib.data", (const char *const *)o->calib_data.item, o->calib_data.count,
                     &calib, why));
    TRY(tokenizer_check(&j->calib, "calib.data", j->source, why));
    if (!o->data_val.count) return OK;
    const named_length length = eval_length(o, "convert", (named_length){o->calib_seq_len, "calib.seq_len"});
    TRY(dims_check_length(d, length.key, length.T, why));
    return feed_held_out_from_options(&j->held_out, o, length.T, d->V, j->source, why);
}

static void job_close(convert_job *j)
{
    temporary_folder_close(&j->temporary);
    dataset_close(&j->calib);
    dataset_close(&j->held_out);
    config_free(&j->config);
}

status cmd_convert(const command_line *line, options *o, const comm *c, message *why)
{
    convert_job j = {.o = o, .c = c, .source = line->positional[0], .temporary = {.lock = -1}};
    TRY(choose(&j, why));
    if (path_print(j.target, why, "%s", line->positional[1]) != OK) return ERR_USAGE;
    path_strip(j.target); /* the temporary folder's name is made from it */
    status s = comm_agree(c, job_open(&j, why), why);
    if (s == OK && !line->plan) s = COMM_ROOT(c, temporary_folder_open(&j.temporary, j.target, why), why);
    if (s == OK) s = convert_run(&j, line->plan, why);
    job_close(&j);
    return s;
}
