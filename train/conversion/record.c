/* The record of a conversion, conversion.json: written from what was measured, and printed from the file, so
 * that `remla convert` and a later `remla inspect` say the same. */
#include "train/conversion/record.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/chart.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_LIMIT = 16 << 20 };

void record_step(conversion_record *r, const char *name, double loss, int64_t tokens)
{
    REQUIRE(r->steps < CONVERT_STEPS, "more than %d steps", CONVERT_STEPS);
    r->step[r->steps].name = name;
    r->step[r->steps++].loss = loss;
    r->held_out_tokens = tokens;
}

/* ---- writing -------------------- */

static json_t *paths_json(const option_list *paths)
{
    json_t *all = json_array();
    for (int i = 0; i < paths->count; i++) json_array_append_new(all, json_text_string(paths->item[i]));
    return all;
}

/* How many frequencies each set has. */
static json_t *division_json(const rope_division *division)
{
    json_t *counts = json_array();
    for (int64_t i = 0; i < division->sets; i++)
        json_array_append_new(counts, json_integer((json_int_t)division->set[i].count));
    return counts;
}

static json_t *layers_json(const conversion_record *r)
{
    json_t *all = json_array();
    for (int64_t l = 0; l < r->layers.layers; l++) {
        const layer_report *x = &r->layers.layer[l];
        json_array_append_new(
            all, json_pack("{s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "layer", (json_int_t)l, "freqfold",
                           division_json(&x->division), "error_before", json_text_real(x->error_cut),
                           "error_after", json_text_real(x->error_refit), "key_energy",
                           json_text_real(x->key_share), "value_energy", json_text_real(x->value_share),
                           "latent_rms", json_text_real(x->latent_rms), "channel_error",
                           json_text_real(x->channel_error), "seconds", json_text_real(x->seconds)));
    }
    return all;
}

static json_t *record_json(const conversion_record *r)
{
    json_t *steps = json_array();
    for (int i = 0; i < r->steps; i++)
        json_array_append_new(
            steps, json_pack("{s:s,s:o}", "step", r->step[i].name, "loss", json_text_real(r->step[i].loss)));
    const convert_settings *s = r->settings;
    static const char *const balances[] = {
        [BALANCE_NORM] = "norm", [BALANCE_TRANSMLA] = "transmla", [BALANCE_NONE] = "none"};
    const char *balance = r->method == METHOD_TRANSMLA ? balances[s->balance] : NULL;
    return json_pack("{s:s, s:s, s:o, s:{s:I,s:I,s:I,s:b,s:I,s:s?,s:s,s:s}, s:{s:o,s:I,s:I,s:o,s:o}, "
                     "s:{s:o,s:I,s:o}, s:{s:I,s:I}, s:o, s:o}",
                     "remla", REMLA_VERSION, "method", r->method == METHOD_REMLA ? "remla" : "transmla",
                     "source", json_text_string(r->source), "settings", "kv_lora_rank", (json_int_t)s->rank,
                     "qk_rope_head_dim", (json_int_t)s->rope, "q_lora_rank", (json_int_t)s->q_rank,
                     "latent_norm", (int)s->latent_norm, "freqfold", (json_int_t)r->layers.freqfold,
                     "balance", balance, "layout", r->layout == LAYOUT_DEEPSEEK ? "deepseek" : "transmla",
                     "dtype", dtype_name(r->storage), "calibration", "data", paths_json(r->calib_data),
                     "tokens", (json_int_t)r->calibration_tokens, "seq_len", (json_int_t)r->calib_seq_len,
                     "loss_original", json_text_real(r->layers.loss_source), "loss_converted",
                     json_text_real(r->layers.loss_mla), "held_out", "data", paths_json(r->held_out_data),
                     "tokens", (json_int_t)r->held_out_tokens, "steps", steps, "kv_bytes_per_token", "before",
                     (json_int_t)r->bytes_before, "after", (json_int_t)r->bytes_after, "layers",
                     layers_json(r), "seconds", json_text_real(r->seconds));
}

static status draw_layers(const conversion_record *r, const char *folder, message *why)
{
    const int64_t L = r->layers.layers;
    double *values = memory_new(3 * L, sizeof *values, "the chart of %lld layers", (long long)L);
    for (int64_t l = 0; l < L; l++) {
        values[l] = (double)l;
        values[L + l] = 100 * r->layers.layer[l].error_cut;
        values[2 * L + l] = 100 * r->layers.layer[l].error_refit;
    }
    const chart_line lines[] = {{"before refitting o_proj", values + L}, {"after", values + 2 * L}};
    const chart c = {.title = "attention output error, % of the original's RMS",
                     .x_name = "layer",
                     .x = values,
                     .points = L,
                     .line = lines,
                     .lines = 2};
    char path[PATH_BYTES];
    const status s = chart_write(&c, path_join(path, folder, "conversion.svg"), why);
    free(values);
    return s;
}

status conversion_record_write(const conversion_record *r, const char *folder, message *why)
{
    json_t *record = record_json(r);
    REQUIRE(record, "a record that is not JSON");
    char *text = memory_check(json_dumps(record, JSON_INDENT(1) | JSON_REAL_PRECISION(9)),
                              "the record of %lld layers", (long long)r->layers.layers),
         path[PATH_BYTES];
    json_decref(record);
    status s = file_write(path_join(path, folder, "conversion.json"), text, (int64_t)strlen(text), NULL, why);
    free(text);
    if (s == OK && r->layers.layer) s = draw_layers(r, folder, why);
    return s;
}

status conversion_record_copy(const char *from, const char *to, written_files *written, message *why)
{
    static const char *const names[] = {"conversion.json", "conversion.svg"};
    return written_copies(written, from, to, names, 2, why);
}

/* ---- printing -------------------- */

/* "4", or "2-8" where the sets of frequencies have different sizes. */
static const char *folds_text(const json_t *counts, char *text, size_t size)
{
    long long least = 0, most = 0;
    size_t i;
    json_t *count;
    json_array_foreach(counts, i, count)
    {
        const long long n = (long long)json_integer_value(count);
        least = i == 0 || n < least ? n : least;
        most = n > most ? n : most;
    }
    snprintf(text, size, least == most ? "%lld" : "%lld-%lld", least, most);
    return text;
}

/* A number times `unit`, or what stands for none. Returns `text`. */
static const char *real_text(const json_t *o, const char *key, int digits, double unit, const char *none,
                             char text[24])
{
    const double x = json_text_real_at(o, key);
    if (isfinite(x))
        snprintf(text, 24, "%.*f", digits, unit * x);
    else
        snprintf(text, 24, "%s", none);
    return text;
}

static void print_layers(const json_t *layers)
{
    if (!json_array_size(layers)) return;
    log_line("layer  FreqFold  attention error %%    energy kept %%   latent  channel's  seconds");
    log_line("                  before    refitted    keys  values       rms    error %%");
    size_t i;
    json_t *l;
    char folds[48], text[7][24];
    json_array_foreach(layers, i, l) log_line(
        "%5lld  %8s  %7s     %7s  %6s  %6s  %8s    %7s  %7s", json_text_whole_at(l, "layer"),
        folds_text(json_object_get(l, "freqfold"), folds, sizeof folds),
        real_text(l, "error_before", 1, 100, "-", text[0]), real_text(l, "error_after", 1, 100, "-", text[1]),
        real_text(l, "key_energy", 1, 100, "-", text[2]), real_text(l, "value_energy", 1, 100, "-", text[3]),
        real_text(l, "latent_rms", 2, 1, "-", text[4]), real_text(l, "channel_error", 1, 100, "-", text[5]),
        real_text(l, "seconds", 1, 1, "-", text[6]));
}

static void print_steps(const json_t *held_out)
{
    const json_t *steps = json_object_get(held_out, "steps");
    if (!json_array_size(steps)) return;
    log_line("held-out text, %lld tokens      loss        ppl", json_text_whole_at(held_out, "tokens"));
    size_t i;
    json_t *s;
    char text[24];
    json_array_foreach(steps, i, s)
    {
        const double loss = json_text_real_at(s, "loss");
        if (isfinite(loss))
            log_line("  %-24s %9.4f %10.3f", json_text_at(s, "step"), loss, exp(loss));
        else
            log_line("  %-24s %9s", json_text_at(s, "step"), real_text(s, "loss", 4, 1, "not finite", text));
    }
}

static void print_calibration(const json_t *text)
{
    char before[24], after[24];
    if (!json_is_object(text)) return;
    log_line("calibration text, %lld tokens in windows of %lld: loss %s -> %s",
             json_text_whole_at(text, "tokens"), json_text_whole_at(text, "seq_len"),
             real_text(text, "loss_original", 4, 1, "not finite", before),
             real_text(text, "loss_converted", 4, 1, "not finite", after));
}

static void print_cache(const json_t *bytes)
{
    const long long before = json_text_whole_at(bytes, "before"), after = json_text_whole_at(bytes, "after");
    if (before > 0 && after > 0)
        log_line("KV cache: %lld -> %lld bytes per token (%+.1f %%)", before, after,
                 100 * ((double)after / (double)before - 1));
}

static void print_record(const json_t *record)
{
    const json_t *settings = json_object_get(record, "settings");
    const long long q_rank = json_text_whole_at(settings, "q_lora_rank");
    char seconds[24], q_text[24] = "none";
    if (q_rank) snprintf(q_text, sizeof q_text, "%lld", q_rank);
    print_layers(json_object_get(record, "layers"));
    print_steps(json_object_get(record, "held_out"));
    print_calibration(json_object_get(record, "calibration"));
    print_cache(json_object_get(record, "kv_bytes_per_token"));
    log_line("converted by method %s in %s s: %s, kv_lora_rank %lld, qk_rope_head_dim %lld, q_lora_rank %s, "
             "%s latent norms, layout %s",
             json_text_at(record, "method"), real_text(record, "seconds", 0, 1, "?", seconds),
             json_text_at(settings, "dtype"), json_text_whole_at(settings, "kv_lora_rank"),
             json_text_whole_at(settings, "qk_rope_head_dim"), q_text,
             json_is_true(json_object_get(settings, "latent_norm")) ? "with" : "without",
             json_text_at(settings, "layout"));
}

bool conversion_exists(const char *folder)
{
    char path[PATH_BYTES];
    return file_exists(path_join(path, folder, "conversion.json"));
}

status conversion_read(json_t **record, const char *folder, message *why)
{
    char path[PATH_BYTES], *text;
    int64_t bytes;
    TRY(file_read_text(path_join(path, folder, "conversion.json"), RECORD_LIMIT, &text, &bytes, why));
    json_error_t error;
    *record = json_loads(text, 0, &error);
    free(text);
    if (json_is_string(json_object_get(*record, "remla")) &&
        json_is_object(json_object_get(*record, "settings")))
        return OK;
    if (!*record) return fail(why, ERR_INPUT, "%s: line %d: %s", path, error.line, error.text);
    json_decref(*record);
    return fail(why, ERR_INPUT,
                "%s is not the record of a conversion by remla: 'remla' or 'settings' is missing", path);
}

status conversion_print(const char *folder, message *why)
{
    json_t *record;
    TRY(conversion_read(&record, folder, why));
    print_record(record);
    json_decref(record);
    return OK;
}
