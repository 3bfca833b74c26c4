/* Tasks asked of a model. */
#include "eval/tasks/suite.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status add_task(task_suite *s, const char *name, const suite_settings *settings, message *why)
{
    for (int i = 0; i < s->tasks; i++)
        if (!strcmp(s->name[i], name)) return fail(why, ERR_USAGE, "the task %.100s is named twice", name);
    if (s->tasks == MOST_TASKS) return fail(why, ERR_USAGE, "there are more than %d tasks", MOST_TASKS);
    TRY(recipe_find(&s->task[s->tasks], name, settings->style, settings->folder, why));
    s->name[s->tasks] = s->task[s->tasks].name;
    s->tasks++;
    return OK;
}

static status add_tasks(task_suite *s, const suite_settings *settings, message *why)
{
    if (!strcmp(settings->tasks, "all")) {
        for (int i = 0; recipe_built_in(i); i++) TRY(add_task(s, recipe_built_in(i), settings, why));
        return OK;
    }
    for (const char *at = settings->tasks; *at;) {
        const size_t length = strcspn(at, ",");
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (length) TRY(add_task(s, name, settings, why));
        at += length + (at[length] == ',');
    }
    return s->tasks ? OK : fail(why, ERR_USAGE, "no task is named");
}

static status read_questions(task_suite *s, const suite_settings *settings, message *why)
{
    bool taken = false;
    for (int i = 0; i < s->tasks; i++) {
        const bool takes = s->task[i].examples[0];
        taken = taken || takes;
        TRY(question_list_read(&s->questions, &s->task[i], i, settings->folder, settings->limit,
                               takes ? settings->shots : 0, why));
    }
    if (!settings->shots || taken) return OK;
    return fail(why, ERR_USAGE,
                "--shots %d: none of these tasks takes examples in style %s; mmlu does in lm-eval",
                settings->shots, task_style_name(settings->style));
}

static status encode(task_suite *s, const suite_model *m, const comm *c, message *why)
{
    tokenizer *t;
    int64_t shortened;
    TRY(tokenizer_open(&t, m->folder, why));
    const encoding e = {t, s->style, encode_positions(s->style, m->positions), m->V};
    const status got =
        encode_questions(&e, &s->questions, s->name, &s->request, &s->requests, &shortened, why);
    tokenizer_close(t);
    if (got == OK && shortened && c->rank == 0)
        log_warning(
            "%lld choices have more tokens than the %lld that the model takes: their last ones are scored",
            (long long)shortened, (long long)e.M);
    return got;
}

status suite_open(task_suite *s, const suite_settings *settings, const suite_model *m, const comm *c,
                  message *why)
{
    *s = (task_suite){.style = settings->style};
    if (!settings->folder[0])
        return fail(why, ERR_USAGE, "eval.data is not set: name the folder with the questions");
    TRY(add_tasks(s, settings, why));
    TRY(read_questions(s, settings, why));
    TRY(encode(s, m, c, why));
    s->plan = score_plan_new(s->request, s->requests, settings->rows, c);
    return OK;
}

void suite_close(task_suite *s)
{
    score_plan_free(s->plan);
    encode_free(s->request, s->requests);
    question_list_free(&s->questions);
    for (int i = 0; i < s->tasks; i++) recipe_free(&s->task[i]);
    *s = (task_suite){0};
}

/* ---- asking -------------------------------------------------------------------------------------------- */

/* A line at most so often, seconds. */
enum { PROGRESS_EVERY = 15 };

typedef struct progress_lines {
    double begin, last;
} progress_lines;

static void print_progress(void *context, int64_t done, int64_t of)
{
    progress_lines *p = context;
    const double now = clock_seconds(), taken = now - p->begin;
    char left[24];
    if (now - p->last < PROGRESS_EVERY || done == of) return;
    p->last = now;
    fprintf(stderr, "eval: %lld of %lld tokens, %.0f a second, about %s left\n", (long long)done,
            (long long)of, (double)done / taken,
            clock_duration_text(taken * (double)(of - done) / (double)done, left));
}

static status check_finite(const task_suite *s, const double *logprob, message *why)
{
    int64_t n = 0;
    for (int64_t i = 0; i < s->questions.count; i++) {
        const question *q = &s->questions.item[i];
        for (int j = 0; j < q->choices; j++, n++)
            if (!isfinite(logprob[n]))
                return fail(why, DIVERGED, "%.100s: question %.100s, choice %d: the log-probability is %g",
                            s->name[q->task], q->id, j, logprob[n]);
    }
    return OK;
}

status suite_run(const task_suite *s, decoder *x, const comm *c, bool progress, double *logprob,
                 score_work *work, message *why)
{
    progress_lines lines = {clock_seconds(), clock_seconds()};
    score_run(s->plan, x, c, logprob, work, progress && c->rank == 0 ? print_progress : NULL, &lines);
    return check_finite(s, logprob, why);
}
