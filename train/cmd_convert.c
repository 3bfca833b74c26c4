/* remla convert SRC DST: a GQA folder to an MLA folder. DST appears whole or not at all: it is written
 * beside and renamed. */
#include "base/file.h"
#include "base/log.h"
#include "model/config.h"
#include "model/convert.h"
#include "model/model_files.h"
#include "train/commands.h"
#include "train/evaluate.h"
#include "train/training.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVALUATION_ROWS = 2048 };

typedef struct convert_job {
    const options *o;
    const char *source;
    char target[PATH_BYTES];
    char temporary[PATH_BYTES]; /* beside it */
    convert_settings how;
    model_config config;     /* of the source */
    dtype storage;           /* of the result */
    dataset calib, held_out; /* held_out.windows is 0 without data.val */
} convert_job;

/* ---- what is asked for -------------------- */

/* Nothing is ever overwritten: the target may be missing or an empty folder. */
static status check_target(const char *path, message *why)
{
    struct stat s;
    if (lstat(path, &s) == 0 && S_ISLNK(s.st_mode))
        return fail(why, ERR_INPUT, "%s is a symbolic link: name the folder itself", path);
    DIR *folder = opendir(path);
    if (!folder)
        return errno == ENOENT ? OK
                               : fail(why, ERR_INPUT, "%s: cannot be written as a model folder: %s", path,
                                      strerror(errno));
    bool empty = true;
    for (const struct dirent *e; empty && (e = readdir(folder));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    closedir(folder);
    return empty ? OK
                 : fail(why, ERR_INPUT,
                        "%s exists and is not empty; nothing is overwritten: name a new folder", path);
}

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
    TRY(check_target(j->target, why));
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
    TRY(dataset_open(&j->calib, "calib.data", (const char *const *)o->calib_data.item, o->calib_data.count,
                     o->calib_seq_len, d->V, false, why));
    if (!o->data_val.count) return OK;
    TRY(check_window("train.seq_len", held_out_length(o), d, why));
    return dataset_open(&j->held_out, "data.val", (const char *const *)o->data_val.item, o->data_val.count,
                        held_out_length(o), d->V, o->data_document_mask, why);
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

/* ---- calibration text -------------------- */

static status read_calibration(const convert_job *j, host_batch *b, message *why)
{
    const int64_t T = j->calib.T, limit = j->o->calib_tokens,
                  wanted = limit ? (limit + T - 1) / T : j->calib.windows;
    host_batch_init(b, wanted < j->calib.windows ? wanted : j->calib.windows, T);
    int64_t counted = 0;
    status s = OK;
    for (int64_t i = 0; i < b->sequences && s == OK; i++)
        s = host_batch_read(b, i, &j->calib, i, &counted, why);
    if (s != OK) host_batch_free(b);
    return s;
}

/* ---- held-out text -------------------- */

typedef enum stage { ORIGINAL, PARTIAL_ROPE, MLA, STAGES } stage;

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

static void print_held_out(const evaluation *e)
{
    static const char *const names[STAGES] = {
        [ORIGINAL] = "original", [PARTIAL_ROPE] = "partial RoPE", [MLA] = "MLA"};
    log_line("held-out text, %lld tokens      loss        ppl", (long long)e[ORIGINAL].tokens);
    for (int i = 0; i < STAGES; i++) log_line("  %-24s %9.4f %10.3f", names[i], e[i].loss, e[i].ppl);
}

/* ---- the result -------------------- */

static status write_folder(const convert_job *j, const model *m, const char *folder, message *why)
{
    TRY(folder_make(folder, why));
    char path[PATH_BYTES];
    char *text = config_converted(&j->config, &m->d, (config_layout)j->o->convert_layout, j->storage);
    const status s =
        file_write(path_join(path, folder, "config.json"), text, (int64_t)strlen(text), NULL, why);
    free(text);
    TRY(s);
    TRY(tokenizer_copy(j->source, folder, why));
    return model_save(folder, &m->table, &m->w, m->k, j->storage, MODEL_FILE_BYTES, why);
}

static status write_target(const convert_job *j, const model *m, evaluation *e, message *why)
{
    TRY(write_folder(j, m, j->temporary, why));
    if (j->held_out.windows) TRY(evaluate_folder(j, j->temporary, &e[MLA], why));
    return folder_commit(j->temporary, j->target, why);
}

static status convert(const convert_job *j, message *why)
{
    evaluation e[STAGES];
    if (j->held_out.windows) TRY(evaluate_folder(j, j->source, &e[ORIGINAL], why));

    host_batch rows;
    TRY(read_calibration(j, &rows, why));
    const calibration text = {
        .windows = rows.sequences, .T = rows.T, .tokens = rows.tokens, .targets = rows.targets};
    model source;
    conversion c = {0};
    model_init(&source, &j->config.d, ops_cpu_f32(), calibration_batch(&text), text.T, MODEL_EVALUATE, 1);
    status s = model_load(j->source, &source.table, &source.w, source.k, why);
    if (s == OK) s = conversion_run(&c, &source, &j->how, &text, why);
    if (s == OK && j->held_out.windows) {
        model partial;
        conversion_partial(&c, &partial, held_out_batch(j), j->held_out.T);
        s = evaluate_model(j, &partial, &e[PARTIAL_ROPE], why);
        model_free(&partial);
    }
    if (s == OK) s = write_target(j, &c.mla, e, why);
    if (s == OK) {
        const double before = (double)kv_bytes_per_token(&source.d),
                     after = (double)kv_bytes_per_token(&c.mla.d);
        if (j->held_out.windows) print_held_out(e);
        log_line("KV cache: %.0f -> %.0f bytes per token (%+.1f %%)", before, after,
                 100 * (after / before - 1));
        log_line("%s: %s, kv_lora_rank %lld, qk_rope_head_dim %lld, q_lora_rank %lld, FreqFold %lld, %s",
                 j->target, dtype_name(j->storage), (long long)c.chosen.rank, (long long)c.chosen.rope,
                 (long long)c.chosen.q_rank, (long long)c.chosen.freqfold,
                 c.chosen.latent_norm ? "with latent norms" : "without latent norms");
    }
    conversion_free(&c);
    model_free(&source);
    host_batch_free(&rows);
    return s;
}

status cmd_convert(const command_line *line, options *o, const comm *c, message *why)
{
    if (c->size > 1)
        return fail(why, ERR_USAGE, "it runs on one rank, not %d: start it without mpirun", c->size);
    convert_job j = {.o = o, .source = line->positional[0]};
    if (snprintf(j.target, sizeof j.target, "%s", line->positional[1]) >= (int)sizeof j.target)
        return fail(why, ERR_USAGE, "%s: the path is too long", line->positional[1]);
    for (size_t end = strlen(j.target); end > 1 && j.target[end - 1] == '/'; end--)
        j.target[end - 1] = 0; /* the temporary folder's name is made from it */
    status s = job_open(&j, why);
    if (s == OK) s = target_open(&j, why);
    if (s == OK) s = convert(&j, why);
    job_close(&j);
    return s;
}
