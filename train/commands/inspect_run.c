/* The story of a run told: how far it came, what happened to it, what is left, and how it goes on. */
#include "base/clock.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "train/checkpoint_parts.h"
#include "train/commands/inspect.h"
#include "train/story.h"
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUOTED = 4 * PATH_MAX + 8 };

static int64_t saved(const story *s) { return s->newest < 0 ? 0 : s->checkpoint[s->newest].step; }

/* Without the checkpoint of its last step a run is not done. */
static bool done(const story *s) { return s->steps && saved(s) >= s->steps; }

static const char *plural(int64_t n, const char *one, const char *many) { return n == 1 ? one : many; }

/* ---- how it goes on ------------------------------------------------------------------------------------ */

static const json_t *last_start(const story *s)
{
    return json_array_get(s->starts, json_array_size(s->starts) - 1);
}

/* True when there are checkpoints and none is whole: a start would begin anew over them, so it refuses. A
 * folder with nothing of a checkpoint in it is not in its way. */
static bool ruined(const story *s)
{
    bool any = false;
    for (int64_t i = 0; i < s->checkpoints; i++) any = any || checkpoint_recognised(s->checkpoint[i].folder);
    return any && s->newest < 0;
}

/* A path as a shell wants it: in quotes where it has other letters than the harmless ones. Returns `out`. */
static const char *shell_word(char out[QUOTED], const char *path)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%";
    size_t n = 0;
    if (!path[strspn(path, harmless)]) {
        snprintf(out, QUOTED, "%s", path);
        return out;
    }
    out[n++] = '\'';
    for (; *path && n < QUOTED - 6; path++) {
        if (*path == '\'') memcpy(out + n, "'\\'", 3), n += 3; /* ends the quotes, a quote, begins them */
        out[n++] = *path;
    }
    memcpy(out + n, "'", 2);
    return out;
}

/* The command; the caller frees. NULL: nothing is left to do, or a start would refuse. Options of the run are
 * in its config.yaml, but for its folder where nobody named one. */
static char *command(const story *s, const char *run)
{
    char *text, real[PATH_MAX], here[PATH_MAX], launcher[64] = "", folder[QUOTED], word[QUOTED];
    const json_t *start = last_start(s);
    const char *there = json_string_value(json_object_get(start, "folder"));
    const int64_t ranks = json_integer_value(json_object_get(start, "ranks"));
    if (done(s) || ruined(s) || !s->has_options) return NULL;
    if (ranks > 1) snprintf(launcher, sizeof launcher, "mpirun -n %lld ", (long long)ranks);
    /* Relative paths in it are those of the folder where it was started. */
    const bool away = there && getcwd(here, sizeof here) && strcmp(there, here) != 0;
    if (away && realpath(run, real)) run = real;
    const bool again = strcmp(s->o.train_resume, "none") == 0,
               halts = s->o.train_stop_after.word == OPTION_NUMBER;
    shell_word(word, run);
    if (asprintf(&text, "%s%s%s%sremla train %s/config.yaml train.out=%s%s%s", away ? "cd " : "",
                 away ? shell_word(folder, there) : "", away ? " && " : "", launcher, word, word,
                 again ? " train.resume=auto" : "", halts ? " train.stop_after=none" : "") < 0)
        memory_failed("a command");
    return text;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static void print_title(const story *s, const char *run)
{
    char of[40] = "";
    if (s->steps) snprintf(of, sizeof of, " of %lld", (long long)s->steps);
    printf("%s: a run, step %lld%s, %s\n", run, (long long)(s->step > saved(s) ? s->step : saved(s)), of,
           s->live   ? "a job is writing it"
           : done(s) ? "done"
                     : "stopped");
}

static void print_training(const story *s)
{
    char spent[24];
    if (!s->first_step) {
        inspect_row("trained", "no step is recorded");
        return;
    }
    inspect_row("trained", "%lld tokens in %s, %.0f tokens a second", (long long)s->tokens,
                clock_duration_text(s->seconds, spent), s->seconds > 0 ? s->tokens_timed / s->seconds : 0);
    if (s->first_step < s->step)
        inspect_row("loss", "%.4f at step %lld, %.4f at step %lld", s->first_loss, (long long)s->first_step,
                    s->last_loss, (long long)s->step);
    else
        inspect_row("loss", "%.4f at step %lld", s->last_loss, (long long)s->step);
}

/* "ranks 1 -> 2" */
static json_t *change_text(const json_t *change)
{
    if (json_is_integer(json_object_get(change, "then")))
        return json_sprintf("%s %lld -> %lld", json_text_at(change, "name"),
                            json_text_whole_at(change, "then"), json_text_whole_at(change, "now"));
    return json_sprintf("%s %s -> %s", json_text_at(change, "name"), json_text_at(change, "then"),
                        json_text_at(change, "now"));
}

static void print_changes(const json_t *changes)
{
    json_t *lines = memory_check(json_array(), "what has changed");
    for (size_t i = 0; i < json_array_size(changes); i++)
        json_array_append_new(lines, change_text(json_array_get(changes, i)));
    if (json_array_size(lines)) inspect_items("                   ", "                   ", ", ", lines);
    json_decref(lines);
}

static void print_starts(const story *s)
{
    const size_t count = json_array_size(s->starts);
    if (count) inspect_row("starts", "%zu", count);
    for (size_t i = 0; i < count; i++) {
        const json_t *start = json_array_get(s->starts, i);
        const int64_t ranks = json_text_whole_at(start, "ranks");
        const char *name = json_text_at(start, "device"); /* its size and place are in env.json */
        printf("    step %-8lld  %s, %lld %s on %s, %.*s\n", json_text_whole_at(start, "step"),
               json_text_at(start, "started"), (long long)ranks, plural(ranks, "rank", "ranks"),
               json_text_at(start, "host"), (int)strcspn(name, ","), name);
        print_changes(json_object_get(start, "changed"));
    }
}

static void print_rollbacks(const story *s)
{
    const size_t count = json_array_size(s->rollbacks);
    if (count) inspect_row("went back", "%zu %s", count, plural((int64_t)count, "time", "times"));
    for (size_t i = 0; i < count; i++) {
        const json_t *back = json_array_get(s->rollbacks, i);
        printf("    step %-8lld  positions %lld to %lld passed over: %s\n",
               json_text_whole_at(back, "step") - 1, json_text_whole_at(back, "from"),
               json_text_whole_at(back, "to"), json_text_at(back, "why"));
    }
}

static void print_skipped(const story *s)
{
    enum { MOST = 10 };
    const size_t count = json_array_size(s->skipped);
    char steps[MOST * 24] = "";
    if (!count) return;
    for (size_t i = 0, used = 0; i < count && i < MOST; i++)
        used += (size_t)snprintf(steps + used, sizeof steps - used, "%s%lld", i ? ", " : "",
                                 (long long)json_integer_value(json_array_get(s->skipped, i)));
    inspect_row("skipped", "%zu %s, not finite: step %s%s", count,
                plural((int64_t)count, "update", "updates"), steps, count > MOST ? " ..." : "");
}

static void print_validations(const story *s)
{
    const json_t *best = NULL, *line = NULL;
    const size_t count = json_array_size(s->validations);
    for (size_t i = 0; i < count; i++) {
        line = json_array_get(s->validations, i);
        if (isfinite(json_text_real_at(line, "val_loss")) &&
            (!best || json_text_real_at(line, "val_loss") < json_text_real_at(best, "val_loss")))
            best = line;
    }
    if (!count) return;
    inspect_row("validations", "%zu, the last %.4f at step %lld", count, json_text_real_at(line, "val_loss"),
                json_text_whole_at(line, "step"));
    if (best && best != line)
        inspect_row("", "the lowest %.4f at step %lld", json_text_real_at(best, "val_loss"),
                    json_text_whole_at(best, "step"));
}

static void print_answers(const story *s)
{
    const size_t count = json_array_size(s->answers);
    const json_t *last = json_array_get(s->answers, count - 1), *task;
    const char *name;
    if (!count) return;
    inspect_row("evaluations", "%zu, the last at step %lld:", count, json_text_whole_at(last, "step"));
    json_t *tasks = json_object_get(last, "tasks");
    json_object_foreach(tasks, name, task)
    {
        const double norm = json_text_real_at(task, "acc_norm");
        printf("    %-24s %.2f %%\n", name, 100 * (isfinite(norm) ? norm : json_text_real_at(task, "acc")));
    }
}

/* The sentence names files by their paths, and the row has said of which checkpoint. */
static const char *without_folder(const story_checkpoint *x)
{
    const size_t length = strlen(x->folder);
    const bool named = strncmp(x->damage.text, x->folder, length) == 0;
    return x->damage.text + (named ? length + strspn(x->damage.text + length, "/: ") : 0);
}

static void print_checkpoint(const story *s, int64_t i)
{
    const story_checkpoint *x = &s->checkpoint[i];
    char bytes[INSPECT_TEXT];
    printf("    step %-8lld  ", (long long)x->step);
    if (x->damage.text[0]) {
        printf("DAMAGED: %s\n", without_folder(x));
        return;
    }
    printf("%s, whole", inspect_bytes(x->bytes, bytes));
    if (isfinite(x->validated)) printf(", val %.4f", x->validated);
    printf("%s%s\n", i == s->newest ? ", the newest" : "", i == s->best ? ", the best" : "");
}

static void print_checkpoints(const story *s)
{
    inspect_row("checkpoints", s->checkpoints ? "%lld" : "none", (long long)s->checkpoints);
    for (int64_t i = 0; i < s->checkpoints; i++) print_checkpoint(s, i);
}

static void print_warnings(const story *s)
{
    const size_t count = json_array_size(s->warnings);
    if (!count) return;
    char last[40] = "";
    if ((int64_t)count < s->warned) snprintf(last, sizeof last, ", the last %zu:", count);
    inspect_row("warnings", "%lld in train.log%s", (long long)s->warned, last);
    for (size_t i = 0; i < count; i++) printf("    %s\n", json_string_value(json_array_get(s->warnings, i)));
}

static void print_text(const story *s, const char *run)
{
    char *next = command(s, run);
    print_title(s, run);
    if (s->has_options) inspect_row("model", "%s", s->o.model_path);
    if (s->no_options.text[0]) inspect_row("config", "cannot be read: %s", s->no_options.text);
    print_training(s);
    print_starts(s);
    print_rollbacks(s);
    print_skipped(s);
    print_validations(s);
    print_answers(s);
    print_checkpoints(s);
    print_warnings(s);
    if (s->ended.text[0]) inspect_row("ended", "%s", s->ended.text);
    if (s->broken) inspect_row("metrics", "line %lld cannot be read", (long long)s->broken);
    if (next && !s->live && saved(s)) inspect_row("goes on", "from step %lld: %s", (long long)saved(s), next);
    if (next && !s->live && !saved(s)) inspect_row("begins anew", "%s", next);
    free(next);
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static json_t *checkpoints_json(const story *s)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->checkpoints; i++) {
        const story_checkpoint *x = &s->checkpoint[i];
        json_array_append_new(
            list, json_pack("{s:I, s:o, s:I, s:b, s:o, s:o, s:b, s:b}", "step", (json_int_t)x->step, "folder",
                            json_text_string(x->folder), "bytes", (json_int_t)x->bytes, "whole",
                            !x->damage.text[0], "damage",
                            x->damage.text[0] ? json_text_string(x->damage.text) : json_null(), "val_loss",
                            json_text_real(x->validated), "newest", i == s->newest, "best", i == s->best));
    }
    return list;
}

static void print_json(const story *s, const char *run)
{
    char *next = command(s, run);
    json_t *all = json_pack(
        "{s:{s:I, s:o, s:b, s:b, s:o, s:I, s:f, s:o, s:o, s:o, s:O, s:O, s:O, s:O, s:O, s:o, s:I, s:O, s:o, "
        "s:o}}",
        "run", "step", (json_int_t)s->step, "steps", s->steps ? json_integer(s->steps) : json_null(), "done",
        done(s), "live", s->live, "model", s->has_options ? json_text_string(s->o.model_path) : json_null(),
        "tokens", (json_int_t)s->tokens, "seconds", s->seconds, "tok_s",
        s->seconds > 0 ? json_real(s->tokens_timed / s->seconds) : json_null(), "first_loss",
        json_text_real(s->first_loss), "last_loss", json_text_real(s->last_loss), "starts", s->starts,
        "rollbacks", s->rollbacks, "skipped", s->skipped, "validations", s->validations, "evaluations",
        s->answers, "checkpoints", checkpoints_json(s), "warnings", (json_int_t)s->warned, "last_warnings",
        s->warnings, "ended", s->ended.text[0] ? json_text_string(s->ended.text) : json_null(), "command",
        next ? json_text_string(next) : json_null());
    json_text_print(all, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    free(next);
}

status inspect_run(const char *folder, bool json, message *why)
{
    story s;
    status result = story_read(&s, folder, why);
    if (result == OK && json) print_json(&s, folder);
    if (result == OK && !json) print_text(&s, folder);
    if (result == OK && ruined(&s))
        result =
            fail(why, ERR_INPUT,
                 "%.200s: none of its %lld checkpoints is whole; the newest: %.400s; to begin anew, move "
                 "%.200s/checkpoints elsewhere",
                 folder, (long long)s.checkpoints, s.checkpoint[0].damage.text, folder);
    story_free(&s);
    return result;
}
