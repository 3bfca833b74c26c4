/* remla inspect FOLDER: what a model folder holds, and, when it was converted by this program, how well. */
#include "base/json_text.h"
#include "base/log.h"
#include "eval/open.h"
#include "train/commands/commands.h"
#include "train/conversion/record.h"
#include "train/conversion/readers.h"
#include <jansson.h>
#include <stdio.h>

static const char *attention_text(const dims *d, char *text, size_t size)
{
    if (d->kind == ATTENTION_GQA)
        snprintf(text, size, "GQA, %lld heads of %lld, %lld of keys and values", (long long)d->H,
                 (long long)d->D, (long long)d->G);
    else
        snprintf(text, size, "MLA, %lld heads of %lld+%lld, latent of %lld%s%s", (long long)d->H,
                 (long long)d->Dn, (long long)d->Dr, (long long)d->R, d->latent_norm ? " with its norm" : "",
                 d->Rq ? ", factored queries" : "");
    return text;
}

static void print_shape(const char *folder, const model_config *c, int64_t parameters)
{
    const dims *d = &c->d;
    char attention[160];
    log_line("%s: %s", folder, attention_text(d, attention, sizeof attention));
    log_line("%lld layers of width %lld, feed-forward %lld, vocabulary %lld%s; %.1f million parameters, %s",
             (long long)d->L, (long long)d->C, (long long)d->F, (long long)d->V,
             d->tied ? " (head tied to the embedding)" : "", (double)parameters / 1e6,
             dtype_name(c->storage));
    log_line("KV cache: %lld bytes per token", (long long)kv_bytes_per_token(d));
}

static status print_json(const char *folder, const model_config *c, int64_t parameters, message *why)
{
    json_t *record = json_null();
    if (conversion_exists(folder)) TRY(conversion_read(&record, folder, why));
    const dims *d = &c->d;
    json_t *all = json_pack(
        "{s:s, s:I, s:I, s:I, s:s, s:I, s:s?, s:o}", "attention", d->kind == ATTENTION_GQA ? "gqa" : "mla",
        "layers", (json_int_t)d->L, "parameters", (json_int_t)parameters, "kv_bytes_per_token",
        (json_int_t)kv_bytes_per_token(d), "dtype", dtype_name(c->storage), "kv_lora_rank", (json_int_t)d->R,
        "read_by", readers_text(c), "conversion", record);
    json_text_print(all, JSON_REAL_PRECISION(9));
    return OK;
}

status cmd_inspect(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    const char *folder = line->positional[0];
    model_config config;
    param_table table;
    TRY(model_folder_read(&config, folder, why));
    param_table_init(&table, &config.d);
    const int64_t parameters = param_table_numel(&table);
    param_table_free(&table);
    status s = OK;
    if (line->json) {
        s = print_json(folder, &config, parameters, why);
    } else {
        print_shape(folder, &config, parameters);
        if (conversion_exists(folder)) s = conversion_print(folder, why);
        if (s == OK) readers_print(&config);
    }
    config_free(&config);
    return s;
}
