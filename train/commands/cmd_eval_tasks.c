/* remla eval MODEL --tasks T,..: the score of a model folder on multiple-choice questions, and beside it that
 * of the original. */
#include "base/json_text.h"
#include "base/memory.h"
#include "eval/open.h"
#include "eval/tasks/results.h"
#include "train/commands/commands.h"
#include "train/eval_options.h"
#include "train/option_words.h"
#include <jansson.h>
#include <stdlib.h>

/* A model and the questions as it reads them. */
typedef struct asked {
    loaded_model model;
    task_suite suite;
} asked;

static void asked_close(asked *x)
{
    suite_close(&x->suite);
    loaded_model_close(&x->model);
}

/* What can fail on any rank by itself, before memory is laid out. */
static status asked_open(asked *x, const char *folder, const suite_settings *settings, const comm *c,
                         message *why)
{
    TRY(loaded_model_open(&x->model, folder, why));
    const suite_model m = eval_suite_model(folder, &x->model.config);
    TRY(suite_open(&x->suite, settings, &m, c, why));
    return loaded_model_length(&x->model, "eval.tasks", score_plan_settings(x->suite.plan)->longest, why);
}

/* *logprob: the caller frees. */
static status ask(asked *x, const options *o, const comm *c, suite_result *r, double **logprob, message *why)
{
    const compute_settings wanted = compute_settings_of(o);
    score_work work;
    *logprob = memory_new(x->suite.requests, sizeof **logprob, "scores");
    TRY(loaded_model_decode(&x->model, &wanted, score_plan_settings(x->suite.plan), c, why));
    TRY(suite_run(&x->suite, &x->model.decode, c, true, *logprob, &work, why));
    results_of(r, &x->suite, *logprob, &work);
    return OK;
}

/* The original, of which eval.base names a folder or a result. */
typedef struct original {
    asked asked; /* of a folder */
    suite_result result;
} original;

static status original_open(original *x, const char *base, const suite_settings *settings,
                            const task_suite *s, const comm *c, message *why)
{
    if (!base[0]) return OK;
    if (folder_exists(base)) return asked_open(&x->asked, base, settings, c, why);
    TRY(results_read(&x->result, base, why));
    return results_comparable(&x->result, s, base, why);
}

static status original_ask(original *x, const options *o, const comm *c, message *why)
{
    double *logprob;
    if (!x->asked.suite.plan) return OK;
    const status s = ask(&x->asked, o, c, &x->result, &logprob, why);
    free(logprob);
    return s;
}

static status settings_of(suite_settings *s, const command_line *line, const options *o, message *why)
{
    *s = (suite_settings){.tasks = line->tasks,
                          .folder = o->eval_data,
                          .limit = line->limit ? (int64_t)line->limit : option_or(o->eval_limit, 0),
                          .shots = (int)line->shots,
                          .rows = o->eval_rows};
    if (line->samples && !line->samples[0])
        return fail(why, ERR_USAGE, "--samples: expected the name of a file");
    return eval_style(&s->style, o, line->style, why);
}

/* All that may be wrong with what the user gave. Rank 0 opens the samples, NULL where none are wanted. */
static status open_inputs(asked *x, original *base, file_writer *samples, const command_line *line,
                          const options *o, const comm *c, message *why)
{
    suite_settings settings;
    TRY(settings_of(&settings, line, o, why));
    TRY(asked_open(x, line->positional[0], &settings, c, why));
    TRY(original_open(base, o->eval_base, &settings, &x->suite, c, why));
    return line->samples && c->rank == 0 ? file_create(samples, line->samples, 0, why) : OK;
}

static status write_samples(file_writer *samples, const task_suite *s, const double *logprob, message *why)
{
    if (samples->fd < 0) return OK;
    TRY(results_samples(samples, s, logprob, why));
    return file_finish(samples, NULL, why);
}

static status run(asked *x, original *base, file_writer *samples, const options *o, const comm *c,
                  suite_result *r, message *why)
{
    double *logprob;
    status s = ask(x, o, c, r, &logprob, why);
    if (s == OK) s = comm_agree(c, write_samples(samples, &x->suite, logprob, why), why);
    free(logprob);
    asked_close(x); /* its memory, before the original takes as much */
    return s == OK ? original_ask(base, o, c, why) : s;
}

static void print(const command_line *line, const suite_result *r, const suite_result *base)
{
    if (line->json)
        json_text_print(results_json(r, base), JSON_COMPACT | JSON_REAL_PRECISION(9));
    else
        results_print(r, base);
}

status cmd_eval_tasks(const command_line *line, options *o, const comm *c, message *why)
{
    asked x = {0};
    original base = {0};
    file_writer samples = {.fd = -1};
    suite_result r;
    status s = comm_agree(c, open_inputs(&x, &base, &samples, line, o, c, why), why);
    if (s == OK) s = run(&x, &base, &samples, o, c, &r, why);
    if (s == OK && c->rank == 0) print(line, &r, o->eval_base[0] ? &base.result : NULL);
    if (samples.fd >= 0) file_abandon(&samples);
    asked_close(&x);
    asked_close(&base.asked);
    return s;
}
