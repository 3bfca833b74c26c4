/* remla inspect FOLDER: what a model folder holds, and, when it was converted by this program, how well; what
 * a checkpoint holds, and whether it is whole; or the story of a run. What is in the folder tells which. */
#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "eval/open.h"
#include "model/hf/folder_check.h"
#include "train/checkpoint_parts.h"
#include "train/commands/commands.h"
#include "train/commands/inspect.h"
#include "train/conversion/record.h"
#include "train/conversion/readers.h"
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what all have ------------------------------------------------------------------------------------- */

const char *inspect_attention(const dims *d, char *text)
{
    if (d->kind == ATTENTION_GQA)
        snprintf(text, INSPECT_TEXT, "GQA, %lld heads of %lld, %lld of keys and values", (long long)d->H,
                 (long long)d->D, (long long)d->G);
    else
        snprintf(text, INSPECT_TEXT, "MLA, %lld heads of %lld+%lld, latent of %lld%s%s", (long long)d->H,
                 (long long)d->Dn, (long long)d->Dr, (long long)d->R, d->latent_norm ? " with its norm" : "",
                 d->Rq ? ", factored queries" : "");
    return text;
}

const char *inspect_bytes(int64_t bytes, char *text)
{
    static const char *const names[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1000 && unit < 4) value /= 1000, unit++;
    snprintf(text, INSPECT_TEXT, unit ? "%.3g %s" : "%.0f %s", value, names[unit]);
    return text;
}

void inspect_row(const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("  %-13s", name);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void inspect_items(const char *first, const char *next, const char *between, const json_t *items)
{
    enum { WIDTH = 110 };
    size_t used = strlen(first);
    fputs(first, stdout);
    for (size_t i = 0; i < json_array_size(items); i++) {
        const char *item = json_string_value(json_array_get(items, i));
        const size_t more = strlen(item) + strlen(between);
        const bool full = i > 0 && used + more > WIDTH;
        if (full)
            printf("%.*s\n%s", (int)strcspn(between, " "), between, next);
        else if (i > 0)
            fputs(between, stdout);
        fputs(item, stdout);
        used = (full ? strlen(next) : used) + more;
    }
    putchar('\n');
}

/* ---- models -------------------------------------------------------------------------------------------- */

static void print_shape(const char *folder, const model_config *c, int64_t parameters)
{
    const dims *d = &c->d;
    char attention[INSPECT_TEXT];
    log_line("%s: %s", folder, inspect_attention(d, attention));
    log_line("%lld layers of width %lld, feed-forward %lld, vocabulary %lld%s; %.1f million parameters, %s",
             (long long)d->L, (long long)d->C, (long long)d->F, (long long)d->V,
             d->tied ? " (head tied to the embedding)" : "", (double)parameters / 1e6,
             dtype_name(c->storage));
    log_line("KV cache: %lld bytes per token", (long long)kv_bytes_per_token(d));
}

status inspect_model_json(json_t **out, const char *folder, const model_config *c, int64_t parameters,
                          message *why)
{
    json_t *record = json_null();
    if (conversion_exists(folder)) TRY(conversion_read(&record, folder, why));
    const dims *d = &c->d;
    *out = json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:s?, s:o}", "attention",
                     d->kind == ATTENTION_GQA ? "gqa" : "mla", "layers", (json_int_t)d->L, "parameters",
                     (json_int_t)parameters, "kv_bytes_per_token", (json_int_t)kv_bytes_per_token(d), "dtype",
                     dtype_name(c->storage), "kv_lora_rank", (json_int_t)d->R, "read_by", readers_text(c),
                     "conversion", record);
    return OK;
}

static status print_model(const char *folder, const model_config *config, bool json, message *why)
{
    param_table table;
    param_table_init(&table, &config->d);
    const int64_t parameters = param_table_numel(&table);
    param_table_free(&table);
    if (json) {
        json_t *all;
        TRY(inspect_model_json(&all, folder, config, parameters, why));
        json_text_print(all, JSON_REAL_PRECISION(9));
        return OK;
    }
    print_shape(folder, config, parameters);
    if (conversion_exists(folder)) TRY(conversion_print(folder, why));
    readers_print(config);
    return OK;
}

static status inspect_model(const char *folder, bool json, message *why)
{
    model_config config;
    TRY(model_folder_read(&config, folder, why));
    const status s = print_model(folder, &config, json, why);
    config_free(&config);
    return s;
}

/* ---- which kind ---------------------------------------------------------------------------------------- */

static bool has(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    path_join(path, folder, name);
    return file_exists(path) || folder_exists(path);
}

static bool is_run(const char *folder)
{
    return !has(folder, "config.json") && (has(folder, "metrics.jsonl") || has(folder, "checkpoints"));
}

status cmd_inspect(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    enum { LONGEST_NAME = 256 };
    char folder[PATH_BYTES];
    TRY(path_print(folder, why, "%s", line->positional[0]));
    path_strip(folder);
    if (strlen(folder) + LONGEST_NAME >= PATH_BYTES)
        return fail(why, ERR_INPUT, "%.100s...: the path is too long", folder);
    if (is_run(folder)) return inspect_run(folder, line->json, why);
    if (folder_exists(folder) && checkpoint_recognised(folder))
        return inspect_checkpoint(folder, line->json, why);
    TRY(model_path_check(folder, why)); /* knows what else people give */
    if (file_exists(folder))
        return fail(
            why, ERR_INPUT,
            "%s: is a file, expected a folder: a model, a checkpoint or a run (for token shards: remla "
            "data inspect)",
            folder);
    TRY(model_folder_check(folder, why));
    if (!strcmp(path_base(folder), "checkpoints"))
        return fail(why, ERR_INPUT,
                    "%s: holds checkpoints: name one of them, or the run, which is the folder above", folder);
    if (!has(folder, "config.json"))
        return fail(
            why, ERR_INPUT,
            "%s: is no model folder (it has no config.json), no checkpoint (no MANIFEST.json) and no run "
            "(no metrics.jsonl)",
            folder);
    return inspect_model(folder, line->json, why);
}
