/* Reads what a run has left. Each file may be missing, as in a run from before there was such a file. */
#include "train/story.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "train/checkpoint_parts.h"
#include "train/checkpoint_report.h"
#include "train/line_log.h"
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LOG_LIMIT = 1 << 30 };

static json_t *new_array(void) { return memory_check(json_array(), "a run's story"); }

/* ---- metrics.jsonl and eval.jsonl ---------------------------------------------------------------------- */

static void take_event(story *s, const json_t *line)
{
    const char *event = json_string_value(json_object_get(line, "event"));
    json_t *list = !event                           ? NULL
                   : strcmp(event, "start") == 0    ? s->starts
                   : strcmp(event, "rollback") == 0 ? s->rollbacks
                                                    : NULL;
    if (list) json_array_append(list, (json_t *)line);
}

static void take_step(story *s, const json_t *line, int64_t step)
{
    const double loss = json_text_real_at(line, "loss"), seconds = json_text_real_at(line, "seconds"),
                 rate = json_text_real_at(line, "tok_s");
    if (!s->first_step) {
        s->first_step = step;
        s->first_loss = loss;
    }
    s->step = step;
    s->last_loss = loss;
    s->tokens = json_integer_value(json_object_get(line, "tokens"));
    if (isfinite(seconds) && isfinite(rate)) {
        s->seconds += seconds;
        s->tokens_timed += seconds * rate;
    }
    if (!isfinite(loss) || !isfinite(json_text_real_at(line, "grad_norm")))
        json_array_append_new(s->skipped, json_integer(step));
}

static void take(void *context, const json_t *line, int64_t step, int64_t number)
{
    story *s = context;
    (void)number;
    if (json_object_get(line, "event"))
        take_event(s, line);
    else if (json_object_get(line, "val_loss"))
        json_array_append(s->validations, (json_t *)line);
    else if (json_object_get(line, "loss"))
        take_step(s, line, step);
}

static void take_answers(void *context, const json_t *line, int64_t step, int64_t number)
{
    (void)step, (void)number;
    json_array_append(((story *)context)->answers, (json_t *)line);
}

static status read_lines(story *s, const char *run, const char *name, line_log_take *with, message *why)
{
    char path[PATH_BYTES];
    int64_t broken = 0;
    if (!file_exists(path_join(path, run, name))) return OK;
    TRY(line_log_read(path, with, s, &broken, why));
    if (!s->broken) s->broken = broken;
    return OK;
}

/* ---- other files --------------------------------------------------------------------------------------- */

static void read_options(story *s, const char *run)
{
    char path[PATH_BYTES];
    /* Of a newer program, perhaps: then less is told. */
    if (file_exists(path_join(path, run, "config.yaml")))
        s->has_options = options_read_yaml(&s->o, path, &s->no_options) == OK;
    const json_t *last = json_array_get(s->starts, json_array_size(s->starts) - 1);
    if (last)
        s->steps = json_integer_value(json_object_get(last, "steps"));
    else if (s->has_options)
        s->steps = option_or(s->o.train_steps, 0);
}

/* The lock is looked at for a moment, which a job that starts just then waits for. */
static bool is_live(const char *run)
{
    char path[PATH_BYTES];
    const int fd = open(path_join(path, run, "lock"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return held;
}

static status read_log(story *s, const char *run, message *why)
{
    static const char prefix[] = "warning: ", ended[] = "ended: ";
    char path[PATH_BYTES], *text, *rest;
    int64_t bytes;
    if (!file_exists(path_join(path, run, "train.log"))) return OK;
    TRY(file_read_text(path, LOG_LIMIT, &text, &bytes, why));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const bool ends = strncmp(line, ended, sizeof ended - 1) == 0;
        snprintf(s->ended.text, sizeof s->ended.text, "%s", ends ? line + sizeof ended - 1 : "");
        if (strncmp(line, prefix, sizeof prefix - 1) != 0) continue;
        s->warned++;
        json_array_append_new(s->warnings, json_text_string(line + sizeof prefix - 1));
        if (json_array_size(s->warnings) > STORY_WARNINGS) json_array_remove(s->warnings, 0);
    }
    free(text);
    return OK;
}

/* ---- checkpoints --------------------------------------------------------------------------------------- */

/* The last validation of a step counts: a run that went on from there has validated again. */
static double validated(const story *s, int64_t step)
{
    double loss = (double)NAN;
    for (size_t i = 0; i < json_array_size(s->validations); i++) {
        const json_t *line = json_array_get(s->validations, i);
        if (json_integer_value(json_object_get(line, "step")) == step)
            loss = json_text_real_at(line, "val_loss");
    }
    return loss;
}

static void read_checkpoint(story *s, const char *run, int64_t step)
{
    checkpoint_report r;
    const int64_t i = s->checkpoints++;
    story_checkpoint *x = &s->checkpoint[i];
    x->step = step;
    checkpoint_folder(x->folder, run, step);
    checkpoint_report_read(&r, x->folder, REPORT_FILES);
    x->damage = r.damage;
    x->bytes = r.all.bytes;
    x->validated = validated(s, step);
    checkpoint_report_free(&r);
    if (x->damage.text[0]) return;
    if (s->newest < 0) s->newest = i;
    if (isfinite(x->validated) && (s->best < 0 || x->validated < s->checkpoint[s->best].validated))
        s->best = i;
}

static status read_checkpoints(story *s, const char *run, message *why)
{
    int64_t *steps, count;
    TRY(checkpoint_steps(run, &steps, &count, why));
    s->checkpoint = memory_new(count, sizeof *s->checkpoint, "%lld checkpoints", (long long)count);
    for (int64_t i = 0; i < count; i++) read_checkpoint(s, run, steps[i]);
    free(steps);
    return OK;
}

status story_read(story *s, const char *run, message *why)
{
    *s = (story){.first_loss = (double)NAN, .last_loss = (double)NAN, .newest = -1, .best = -1};
    s->starts = new_array();
    s->rollbacks = new_array();
    s->skipped = new_array();
    s->validations = new_array();
    s->answers = new_array();
    s->warnings = new_array();
    options_init(&s->o);
    s->live = is_live(run);
    TRY(read_lines(s, run, "metrics.jsonl", take, why));
    TRY(read_lines(s, run, "eval.jsonl", take_answers, why));
    read_options(s, run);
    TRY(read_log(s, run, why));
    return read_checkpoints(s, run, why);
}

void story_free(story *s)
{
    json_t *const all[] = {s->starts, s->rollbacks, s->skipped, s->validations, s->answers, s->warnings};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) json_decref(all[i]);
    free(s->checkpoint);
    options_free(&s->o);
    *s = (story){.newest = -1, .best = -1};
}
