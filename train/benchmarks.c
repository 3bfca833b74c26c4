/* The questions of eval.tasks. */
#include "train/benchmarks.h"
#include "base/memory.h"
#include "train/eval_options.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a,b": the caller frees. */
static char *joined(const option_list *list)
{
    size_t bytes = 1;
    for (int i = 0; i < list->count; i++) bytes += strlen(list->item[i]) + 1;
    char *text = memory_new((int64_t)bytes, 1, "names of tasks");
    for (int i = 0; i < list->count; i++) {
        if (i) strcat(text, ",");
        strcat(text, list->item[i]);
    }
    return text;
}

status benchmarks_open(benchmarks *b, const options *o, const model_config *config, const comm *c,
                       message *why)
{
    *b = (benchmarks){.c = c};
    if (!o->eval_tasks.count) return OK;
    suite_settings settings = {
        .folder = o->eval_data, .limit = option_or(o->eval_limit, 0), .rows = o->eval_rows};
    const suite_model m = eval_suite_model(o->model_path, config);
    TRY(eval_style(&settings.style, o, NULL, why));
    char *tasks = joined(&o->eval_tasks);
    settings.tasks = tasks;
    const status s = suite_open(&b->suite, &settings, &m, c, why);
    free(tasks);
    return s;
}

const decoder_settings *benchmarks_decoder(const benchmarks *b)
{
    return b->suite.tasks ? score_plan_settings(b->suite.plan) : NULL;
}

void benchmarks_start(benchmarks *b, const model *m)
{
    if (b->suite.tasks) decoder_init(&b->decode, m, benchmarks_decoder(b));
}

void benchmarks_close(benchmarks *b)
{
    if (b->decode.m) decoder_free(&b->decode);
    suite_close(&b->suite);
    *b = (benchmarks){0};
}

status benchmarks_ask(benchmarks *b, suite_result *r, message *why)
{
    score_work work;
    double *logprob = memory_new(b->suite.requests, sizeof *logprob, "scores");
    const status s = suite_run(&b->suite, &b->decode, b->c, false, logprob, &work, why);
    if (s == OK) results_of(r, &b->suite, logprob, &work);
    free(logprob);
    return s;
}

const char *benchmarks_text(const suite_result *r, char *buffer)
{
    size_t used = 0;
    buffer[0] = 0;
    for (int i = 0; i < r->tasks && used < BENCHMARKS_TEXT_BYTES; i++)
        used += (size_t)snprintf(buffer + used, BENCHMARKS_TEXT_BYTES - used, "%s%s %.4f", i ? " | " : "",
                                 r->task[i].name, result_score(&r->task[i]));
    if (!isnan(r->average) && used < BENCHMARKS_TEXT_BYTES)
        snprintf(buffer + used, BENCHMARKS_TEXT_BYTES - used, " | average %.4f", r->average);
    return buffer;
}
