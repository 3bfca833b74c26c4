/* Compares the process with the one before it, and leaves a record. */
#include "train/start.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/environment.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says how far numbers will agree: what another order of the same sums does is known. */
static void warn(const json_t *changes, bool sums, bool cpu)
{
    if (!json_array_size(changes)) return;
    char *text = environment_changes_text(changes);
    log_warning("%s: losses %s", text,
                !sums ? "need not agree bit for bit"
                : cpu ? "will agree to about 1e-8, not bit for bit"
                      : "will agree, not bit for bit");
    free(text);
}

static bool has(const json_t *changes, const char *name)
{
    for (size_t i = 0; i < json_array_size(changes); i++)
        if (!strcmp(json_string_value(json_object_get(json_array_get(changes, i), "name")), name))
            return true;
    return false;
}

/* Adds an option that differs, unless it is there already, as those of parallel.* that change numbers are. */
static void take_option(void *context, const char *key, const char *then, const char *now)
{
    json_t *changes = context;
    log_line("changed: %s %s -> %s", key, then, now);
    if (has(changes, key)) return;
    json_t *one = json_object();
    json_object_set_new(one, "name", json_string(key));
    json_object_set_new(one, "then", json_text_string(then));
    json_object_set_new(one, "now", json_text_string(now));
    json_array_append_new(changes, memory_check(one, "what has changed"));
}

static void compare_options(json_t *changes, const options *now, const char *checkpoint)
{
    char path[PATH_BYTES];
    options then;
    message ignored; /* it has been read before */
    options_init(&then);
    if (options_read_yaml(&then, path_join(path, checkpoint, CHECKPOINT_OPTIONS), &ignored) == OK)
        options_compare(now, &then, take_option, changes);
    options_free(&then);
}

void start_from(start *s, const training *t, const char *checkpoint)
{
    if (t->c->rank != 0) return;
    bool sums;
    json_t *then = environment_of(checkpoint, t->state.ranks);
    snprintf(s->checkpoint, sizeof s->checkpoint, "%s", checkpoint);
    s->changes = environment_compare(then, t->environment, &sums);
    warn(s->changes, sums, !t->m.k->device);
    compare_options(s->changes, t->o, checkpoint);
    json_decref(then);
}

/* What of env.json tells one start of a run from another. */
static const char *const kept[] = {"started", "host", "folder", "remla", "git", "device", "machine", "ranks"};

void start_record(start *s, const training *t, metrics *log)
{
    if (t->c->rank != 0) return;
    json_t *fields = memory_check(json_object(), "a start");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) /* those that are there */
        json_object_set(fields, kept[i], json_object_get(t->environment, kept[i]));
    json_object_set_new(fields, "steps", json_integer(t->steps));
    if (s->checkpoint[0]) json_object_set_new(fields, "from", json_text_string(s->checkpoint));
    if (s->changes) json_object_set_new(fields, "changed", s->changes);
    metrics_event(log, t->state.step, "start", fields);
    *s = (start){.changes = NULL};
}
