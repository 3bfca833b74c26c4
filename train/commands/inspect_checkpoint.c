/* A checkpoint explained: where the run stood, how large it is, who wrote it, with which options, and whether
 * it is whole. All values are read for that. */
#include "base/hash.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "train/checkpoint_parts.h"
#include "train/checkpoint_report.h"
#include "train/commands/inspect.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- options that are not the defaults ----------------------------------------------------------------- */

/* Numbers, lists and texts are written as in JSON; a word is none there. */
static void take_option(void *context, const char *key, const char *usual, const char *set)
{
    (void)usual;
    json_t *value = json_loads(set, JSON_DECODE_ANY, NULL);
    json_object_set_new(context, key, value ? value : json_text_string(set));
}

static json_t *options_set_json(const options *then)
{
    json_t *all = memory_check(json_object(), "options");
    options usual;
    options_init(&usual);
    options_compare(then, &usual, take_option, all);
    options_free(&usual);
    return all;
}

static void print_options(const options *then)
{
    json_t *all = options_set_json(then), *lines = memory_check(json_array(), "options"), *value;
    const char *key;
    json_object_foreach(all, key, value)
    {
        char *text = memory_check(json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)), "options");
        json_array_append_new(
            lines, json_sprintf("%s=%s", key, json_is_string(value) ? json_string_value(value) : text));
        free(text);
    }
    inspect_items("  options      ", "               ", "  ", lines);
    json_decref(lines);
    json_decref(all);
}

static const char *hex(char text[HASH_TEXT], uint64_t hash)
{
    hash_text(text, hash);
    return text;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static void print_model(const checkpoint_report *r)
{
    char attention[INSPECT_TEXT];
    inspect_row("model", "%s; %lld layers of width %lld, %lld parameters",
                inspect_attention(&r->config.d, attention), (long long)r->config.d.L,
                (long long)r->config.d.C, (long long)r->parameters);
}

static void print_state(const checkpoint_report *r)
{
    const checkpoint_state *s = &r->state;
    const option_INT_OR_AUTO steps = r->then.train_steps;
    char of[40] = "", hash[HASH_TEXT];
    if (steps.word == OPTION_NUMBER) snprintf(of, sizeof of, " of %lld", (long long)steps.number);
    inspect_row("step", "%lld%s, %lld tokens%s", (long long)s->step, of, (long long)s->tokens,
                s->far ? "; the loss was far above its past" : "");
    inspect_row("data", "goes on at position %lld of the order; fingerprint %s", (long long)s->position,
                hex(hash, s->fingerprint));
    for (const passed_over *p = s->passed; p < s->passed + s->passes; p++)
        inspect_row(p == s->passed ? "passed over" : "", "after step %lld, positions %lld to %lld: %s",
                    (long long)p->step, (long long)p->from, (long long)p->to, p->why);
    if (!s->hashed) return;
    char masters[HASH_TEXT], moments[HASH_TEXT];
    inspect_row("fingerprints", "weights %s, masters %s, moments %s", hex(hash, s->weights),
                hex(masters, s->masters), hex(moments, s->moments));
}

static void print_sizes(const checkpoint_report *r)
{
    char all[INSPECT_TEXT], folder[INSPECT_TEXT], moments[INSPECT_TEXT];
    inspect_row("files", "%lld, %s: weights %s in %lld, states %s in %lld", (long long)r->all.files,
                inspect_bytes(r->all.bytes, all), inspect_bytes(r->weights.bytes, folder),
                (long long)r->weights.files, inspect_bytes(r->states.bytes, moments),
                (long long)r->states.files);
}

static void print_writer(const checkpoint_report *r)
{
    const json_t *e = r->environment, *git = json_object_get(e, "git");
    const long long ranks = (long long)r->state.ranks, threads = (long long)r->state.threads;
    if (e)
        inspect_row("written by", "remla %s%s%s, started %s on %s", json_text_at(e, "remla"),
                    git ? ", sources " : "", git ? json_string_value(git) : "", json_text_at(e, "started"),
                    json_text_at(e, "host"));
    if (r->has_state && ranks)
        inspect_row(e ? "" : "written by", "%lld %s of %lld %s", ranks, ranks == 1 ? "rank" : "ranks",
                    threads, threads == 1 ? "thread" : "threads");
    if (!e) return;
    if (json_object_get(e, "gpu"))
        inspect_row("computed on", "%s, %s; CUDA %s, cuBLAS %s, attention %s", json_text_at(e, "gpu"),
                    json_text_at(e, "storage"), json_text_at(e, "cuda"), json_text_at(e, "cublas"),
                    json_text_at(e, "attention"));
    else
        inspect_row("computed on", "CPU: %s; oneDNN %s for %s", json_text_at(e, "cpu"),
                    json_text_at(e, "onednn"), json_text_at(e, "onednn_isa"));
}

static void print_text(const checkpoint_report *r, const char *folder)
{
    printf("%s: a checkpoint, %s\n", folder, r->damage.text[0] ? "DAMAGED" : "whole");
    if (r->has_state) print_state(r);
    if (r->has_config) print_model(r);
    print_sizes(r);
    print_writer(r);
    if (r->has_options) print_options(&r->then);
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

/* The keys of state.json, and those that stand there only when there is something to say. */
static void add_state(json_t *to, const checkpoint_state *s)
{
    json_object_update_new(to, json_pack("{s:b, s:[]}", "far", false, "passed_over"));
    json_object_update_new(to, checkpoint_state_json(s));
}

/* The keys of a model as well: it is one. */
static status print_json(const checkpoint_report *r, const char *folder, message *why)
{
    json_t *all = NULL,
           *own = json_pack(
               "{s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:O?, s:o}", "whole", !r->damage.text[0], "damage",
               r->damage.text[0] ? json_text_string(r->damage.text) : json_null(), "files",
               (json_int_t)r->all.files, "bytes", (json_int_t)r->all.bytes, "weight_files",
               (json_int_t)r->weights.files, "weight_bytes", (json_int_t)r->weights.bytes, "state_files",
               (json_int_t)r->states.files, "state_bytes", (json_int_t)r->states.bytes, "environment",
               r->environment, "options", r->has_options ? options_set_json(&r->then) : json_null());
    if (r->has_state) add_state(memory_check(own, "a checkpoint"), &r->state);
    if (r->has_config) TRY(inspect_model_json(&all, folder, &r->config, r->parameters, why));
    if (!all) all = json_object();
    json_object_set_new(all, "checkpoint", own);
    json_text_print(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    return OK;
}

status inspect_checkpoint(const char *folder, bool json, message *why)
{
    checkpoint_report r;
    checkpoint_report_read(&r, folder, REPORT_VALUES);
    status s = OK;
    if (json)
        s = print_json(&r, folder, why);
    else
        print_text(&r, folder);
    if (s == OK && r.damage.text[0]) s = fail(why, ERR_INPUT, "%s", r.damage.text);
    checkpoint_report_free(&r);
    return s;
}
