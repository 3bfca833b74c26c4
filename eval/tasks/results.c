/* Answers to scores. */
#include "eval/tasks/results.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_BYTES = 1 << 20 };

/* ---- picks and accuracies ------------------------------------------------------------------------------ */

/* The largest log-probability, of equals the first; `norm`: divided by characters. A continuation without
 * characters is never picked by that. */
static int pick(const question *q, const double *logprob, bool norm)
{
    int best = 0;
    double most = -(double)INFINITY;
    for (int j = 0; j < q->choices; j++) {
        const double score = norm ? logprob[j] / (double)question_characters(q->continuation[j]) : logprob[j];
        if (score > most) {
            most = score;
            best = j;
        }
    }
    return best;
}

static double standard_error(double p, int64_t n)
{
    return n > 1 ? sqrt(p * (1 - p) / (double)(n - 1)) : (double)NAN;
}

double result_score(const task_result *r) { return isnan(r->acc_norm) ? r->acc : r->acc_norm; }

const task_result *result_find(const suite_result *r, const char *name)
{
    for (int i = 0; i < r->tasks; i++)
        if (!strcmp(r->task[i].name, name)) return &r->task[i];
    return NULL;
}

static double score_of(const suite_result *r, const char *name)
{
    const task_result *t = result_find(r, name);
    return t ? result_score(t) : (double)NAN;
}

static double average(const suite_result *r)
{
    const double arc = (score_of(r, "arc_easy") + score_of(r, "arc_challenge")) / 2;
    return (score_of(r, "mmlu") + arc + score_of(r, "piqa") + score_of(r, "hellaswag") +
            score_of(r, "openbookqa") + score_of(r, "winogrande")) /
           6;
}

static void finish_task(task_result *t, int64_t right, int64_t right_norm, bool norm)
{
    t->acc = (double)right / (double)t->n;
    t->acc_norm = norm ? (double)right_norm / (double)t->n : (double)NAN;
    t->acc_stderr = standard_error(t->acc, t->n);
    t->acc_norm_stderr = standard_error(t->acc_norm, t->n);
}

void results_of(suite_result *r, const task_suite *s, const double *logprob, const score_work *work)
{
    int64_t right[MOST_TASKS] = {0}, right_norm[MOST_TASKS] = {0};
    *r = (suite_result){.style = s->style, .tasks = s->tasks, .questions = s->questions.count, .work = *work};
    for (int i = 0; i < s->tasks; i++) snprintf(r->task[i].name, sizeof r->task[i].name, "%s", s->name[i]);
    for (int64_t i = 0; i < s->questions.count; i++) {
        const question *q = &s->questions.item[i];
        r->task[q->task].n++;
        r->task[q->task].shots = q->shots;
        right[q->task] += pick(q, logprob, false) == q->gold;
        right_norm[q->task] += pick(q, logprob, true) == q->gold;
        logprob += q->choices;
    }
    for (int i = 0; i < s->tasks; i++) finish_task(&r->task[i], right[i], right_norm[i], s->task[i].norm);
    r->average = average(r);
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static json_t *number(double value) { return isnan(value) ? json_null() : json_real(value); }

static json_t *task_json(const task_result *t)
{
    return json_pack("{s:I, s:i, s:o, s:o, s:o, s:o}", "n", (json_int_t)t->n, "shots", t->shots, "acc",
                     number(t->acc), "acc_stderr", number(t->acc_stderr), "acc_norm", number(t->acc_norm),
                     "acc_norm_stderr", number(t->acc_norm_stderr));
}

static json_t *suite_json(const suite_result *r)
{
    json_t *tasks = json_object(), *json = json_pack("{s:s}", "style", task_style_name(r->style));
    for (int i = 0; i < r->tasks; i++) json_object_set_new(tasks, r->task[i].name, task_json(&r->task[i]));
    json_object_set_new(json, "tasks", tasks);
    if (!isnan(r->average)) json_object_set_new(json, "average", number(r->average));
    if (isnan(r->work.seconds)) return json;
    json_object_set_new(json, "questions", json_integer(r->questions));
    json_object_set_new(json, "tokens", json_integer(r->work.computed));
    json_object_set_new(json, "tokens_unshared", json_integer(r->work.asked));
    json_object_set_new(json, "passes", json_integer(r->work.passes));
    json_object_set_new(json, "seconds", number(r->work.seconds));
    return json;
}

/* In percent of the original's score; NaN where that has none. */
static double recovered(double score, double original)
{
    return original > 0 ? 100 * score / original : (double)NAN;
}

json_t *results_json(const suite_result *r, const suite_result *base)
{
    json_t *json = suite_json(r);
    if (!base) return json;
    json_t *percent = json_object();
    for (int i = 0; i < r->tasks; i++)
        json_object_set_new(percent, r->task[i].name,
                            number(recovered(result_score(&r->task[i]), score_of(base, r->task[i].name))));
    if (!isnan(r->average))
        json_object_set_new(percent, "average", number(recovered(r->average, base->average)));
    json_object_set_new(json, "base", suite_json(base));
    json_object_set_new(json, "recovered", percent);
    return json;
}

static bool read_task(task_result *t, const char *name, const json_t *json)
{
    const json_t *n = json_object_get(json, "n"), *acc = json_object_get(json, "acc");
    if (strlen(name) >= sizeof t->name || !json_is_integer(n) || json_integer_value(n) < 1 ||
        !json_is_number(acc))
        return false;
    *t = (task_result){.n = json_integer_value(n),
                       .shots = (int)json_integer_value(json_object_get(json, "shots")),
                       .acc = json_number_value(acc),
                       .acc_norm = json_text_real_at(json, "acc_norm")};
    t->acc_stderr = standard_error(t->acc, t->n);
    t->acc_norm_stderr = standard_error(t->acc_norm, t->n);
    strcpy(t->name, name);
    return true;
}

static status read_result(suite_result *r, json_t *json, const char *path, message *why)
{
    const char *style = json_string_value(json_object_get(json, "style")), *name;
    json_t *tasks = json_object_get(json, "tasks"), *task;
    *r = (suite_result){.work.seconds = (double)NAN};
    if (!style || !task_style_find(style, &r->style) || !json_is_object(tasks))
        return fail(why, ERR_INPUT, "%s: expected the JSON that `remla eval --tasks ... --json` prints",
                    path);
    json_object_foreach(tasks, name, task)
    {
        if (r->tasks == MOST_TASKS || !read_task(&r->task[r->tasks], name, task))
            return fail(why, ERR_INPUT, "%s: tasks.%.100s has no n and acc", path, name);
        r->tasks++;
    }
    r->average = average(r);
    return OK;
}

status results_read(suite_result *r, const char *path, message *why)
{
    json_t *json;
    TRY(json_text_read(&json, path, RESULT_BYTES, why));
    const status s = read_result(r, json, path, why);
    json_decref(json);
    return s;
}

status results_comparable(const suite_result *base, const task_suite *s, const char *what, message *why)
{
    if (base->style != s->style)
        return fail(why, ERR_INPUT, "%s: its style is %s, this evaluation's is %s", what,
                    task_style_name(base->style), task_style_name(s->style));
    int64_t n[MOST_TASKS] = {0};
    int shots[MOST_TASKS] = {0};
    for (int64_t i = 0; i < s->questions.count; i++) {
        n[s->questions.item[i].task]++;
        shots[s->questions.item[i].task] = s->questions.item[i].shots;
    }
    for (int i = 0; i < s->tasks; i++) {
        const task_result *t = result_find(base, s->name[i]);
        if (!t) return fail(why, ERR_INPUT, "%s: it has no %s", what, s->name[i]);
        if (t->n != n[i] || t->shots != shots[i])
            return fail(why, ERR_INPUT,
                        "%s: its %s is of %lld questions with %d examples, this one of %lld with %d", what,
                        s->name[i], (long long)t->n, t->shots, (long long)n[i], shots[i]);
    }
    return OK;
}

/* ---- the table ----------------------------------------------------------------------------------------- */

/* Columns of a line, which ends without spaces. */
static void print_line(text_buffer *line)
{
    printf("%.*s\n", (int)filters_stripped(line->text, line->bytes), line->text);
    line->bytes = 0;
}

static void add_score(text_buffer *line, double value, double error)
{
    if (isnan(value))
        text_buffer_print(line, "  %8s %7s", "-", "");
    else if (isnan(error))
        text_buffer_print(line, "  %8.4f %7s", value, "-");
    else
        text_buffer_print(line, "  %8.4f %7.4f", value, error);
}

static void add_base(text_buffer *line, double score, double original)
{
    const double percent = recovered(score, original);
    text_buffer_print(line, "  %8.4f", original);
    if (isnan(percent))
        text_buffer_print(line, "  %11s", "-");
    else
        text_buffer_print(line, "  %11.1f", percent);
}

void results_print(const suite_result *r, const suite_result *base)
{
    text_buffer line = {0};
    text_buffer_print(&line, "%-16s %6s %5s  %8s %7s  %8s %7s", "task", "n", "shots", "acc", "+-", "acc_norm",
                      "+-");
    if (base) text_buffer_print(&line, "  %8s  %11s", "original", "recovered %");
    print_line(&line);
    for (int i = 0; i < r->tasks; i++) {
        const task_result *t = &r->task[i];
        text_buffer_print(&line, "%-16s %6lld %5d", t->name, (long long)t->n, t->shots);
        add_score(&line, t->acc, t->acc_stderr);
        add_score(&line, t->acc_norm, t->acc_norm_stderr);
        if (base) add_base(&line, result_score(t), score_of(base, t->name));
        print_line(&line);
    }
    if (!isnan(r->average)) {
        text_buffer_print(&line, "%-29s  %8.4f %26s", "average of main scores", r->average, "");
        if (base) add_base(&line, r->average, base->average);
        print_line(&line);
    }
    text_buffer_free(&line);
    printf("style %s, %lld questions in %.1f s, %.2f a second\n", task_style_name(r->style),
           (long long)r->questions, r->work.seconds, (double)r->questions / r->work.seconds);
}

/* ---- samples ------------------------------------------------------------------------------------------- */

static json_t *sample(const task_suite *s, const question *q, const score_request *request,
                      const double *logprob)
{
    const bool norm = s->task[q->task].norm;
    bool one_context = true;
    json_t *logprobs = json_array(), *tokens = json_array(), *chars = json_array(), *before = json_array(),
           *contexts = json_array(), *continuations = json_array();
    for (int j = 0; j < q->choices; j++) {
        json_array_append_new(logprobs, json_real(logprob[j]));
        json_array_append_new(tokens, json_integer(request[j].scored));
        json_array_append_new(before, json_integer(request[j].count - request[j].scored));
        json_array_append_new(chars, json_integer(question_characters(q->continuation[j])));
        json_array_append_new(contexts, json_string(q->context[j]));
        json_array_append_new(continuations, json_string(q->continuation[j]));
        one_context = one_context && q->context[j] == q->context[0];
    }
    if (one_context) {
        json_decref(contexts);
        contexts = json_string(q->context[0]);
    }
    return json_pack("{s:s, s:i, s:s, s:i, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "task", s->name[q->task],
                     "shots", q->shots, "id", q->id, "gold", q->gold, "logprobs", logprobs, "picked",
                     pick(q, logprob, false), "picked_norm",
                     norm ? json_integer(pick(q, logprob, true)) : json_null(), "tokens", tokens, "chars",
                     chars, "context_tokens", before, "context", contexts, "continuations", continuations);
}

status results_samples(file_writer *out, const task_suite *s, const double *logprob, message *why)
{
    const score_request *request = s->request;
    for (int64_t i = 0; i < s->questions.count; i++) {
        const question *q = &s->questions.item[i];
        json_t *json = sample(s, q, request, logprob);
        char *line = json_dumps(json, JSON_COMPACT);
        REQUIRE(line, "%s: question %s cannot be printed", s->name[q->task], q->id);
        const size_t length = strlen(line);
        line[length] = '\n'; /* in the place of the zero */
        const status got = file_append(out, line, (int64_t)length + 1, why);
        free(line);
        json_decref(json);
        TRY(got);
        request += q->choices;
        logprob += q->choices;
    }
    return OK;
}
