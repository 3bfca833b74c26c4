/* Records what a run measures. When it resumes, the losses of the lines that stay go to the loss watch, their
 * validations to m->val. */
#include "train/metrics.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/memory.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_BYTES = 512 };

static void remember_validation(metrics *m, int64_t step, double loss)
{
    m->val = memory_check(realloc(m->val, sizeof *m->val * (size_t)(m->vals + 1)), "validations");
    m->val[m->vals++] = (validation){step, loss};
}

/* ---- what the files hold ------------------------------------------------------------------------------- */

typedef struct reading {
    metrics *m;
    loss_watch *watch;
    int64_t line;              /* the last one that stays */
    int64_t before;            /* the training step read last, -1: none */
    int64_t missing, gap_line; /* steps without a line; the line before which the first of them are missing */
    int64_t gap_from, gap_to;
} reading;

static void gap(reading *r, int64_t from, int64_t to)
{
    if (!r->missing) {
        r->gap_from = from;
        r->gap_to = to;
        r->gap_line = r->line;
    }
    r->missing += to - from + 1;
}

static void take(void *context, const json_t *line, int64_t step, int64_t number)
{
    reading *r = context;
    const json_t *loss = json_object_get(line, "loss"), *held_out = json_object_get(line, "val_loss");
    r->line = number;
    if (json_is_number(held_out)) remember_validation(r->m, step, json_number_value(held_out));
    if (!loss) return;
    loss_watch_add(r->watch, json_text_real_at(line, "loss"),
                   !isfinite(json_text_real_at(line, "grad_norm")));
    if (r->before >= 0 && step > r->before + 1) gap(r, r->before + 1, step - 1);
    r->before = step;
}

static void take_answers(void *context, const json_t *line, int64_t step, int64_t number)
{
    (void)line, (void)number;
    ((metrics *)context)->answered = step;
}

static void warn(reading *r, int64_t step)
{
    if (r->before >= 0 && r->before < step) {
        r->line++;
        gap(r, r->before + 1, step);
    }
    if (r->missing)
        log_warning("%s:%lld: steps %lld to %lld are missing before this line, %lld in all", r->m->steps.path,
                    (long long)r->gap_line, (long long)r->gap_from, (long long)r->gap_to,
                    (long long)r->missing);
}

/* Appends what was passed over after this step. That after earlier steps is in the file already. */
static void add_passed_over(metrics *m, const checkpoint_state *state)
{
    for (const passed_over *p = state->passed; p < state->passed + state->passes; p++)
        if (p->step == state->step)
            metrics_event(m, p->step + 1, "rollback",
                          json_pack("{s:I, s:I, s:s}", "from", (json_int_t)p->from, "to", (json_int_t)p->to,
                                    "why", p->why));
}

status metrics_open(metrics *m, const char *run, const checkpoint_state *state, int rank, bool answers,
                    loss_watch *watch, message *why)
{
    reading r = {.m = m, .watch = watch, .before = -1};
    const int64_t step = state->step ? state->step : -1;
    *m = (metrics){.steps.fd = -1, .answers.fd = -1, .answered = -1};
    status s = line_log_open(&m->steps, run, "metrics.jsonl", step, rank, take, &r, why);
    if (s == OK && answers)
        s = line_log_open(&m->answers, run, "eval.jsonl", step, rank, take_answers, m, why);
    if (s != OK) {
        metrics_close(m);
        return s;
    }
    warn(&r, step);
    add_passed_over(m, state);
    return OK;
}

/* ---- new lines ----------------------------------------------------------------------------------------- */

static const char *number(double value, char *buffer, size_t size)
{
    if (isfinite(value))
        snprintf(buffer, size, "%.17g", value);
    else
        snprintf(buffer, size, "null");
    return buffer;
}

void metrics_step(metrics *m, const step_metrics *s)
{
    if (m->steps.fd < 0) return;
    char loss[40], norm[40], rate[40], line[LINE_BYTES];
    snprintf(line, sizeof line,
             "{\"step\": %lld, \"loss\": %s, \"grad_norm\": %s, \"lr\": %s, \"tokens\": %lld, \"tok_s\": "
             "%.9g, \"seconds\": %.9g, \"data_wait\": %.9g, \"mem\": %.9g}\n",
             (long long)s->step, number(s->loss, loss, sizeof loss), number(s->grad_norm, norm, sizeof norm),
             number(s->rate, rate, sizeof rate), (long long)s->tokens, s->tok_s, s->seconds, s->data_wait,
             (double)memory_peak_bytes() / 1048576.0);
    line_log_add(&m->steps, line);
}

void metrics_validation(metrics *m, int64_t step, const evaluation *e)
{
    if (m->steps.fd < 0) return;
    char loss[40], ppl[40], line[LINE_BYTES];
    snprintf(line, sizeof line, "{\"step\": %lld, \"val_loss\": %s, \"val_ppl\": %s, \"val_tokens\": %lld}\n",
             (long long)step, number(e->loss, loss, sizeof loss), number(e->ppl, ppl, sizeof ppl),
             (long long)e->tokens);
    line_log_add(&m->steps, line);
    remember_validation(m, step, e->loss);
}

/* Appends the line {"step": STEP, ...more}. Takes `more` over. */
static void add_json(line_log *l, json_t *first, json_t *more)
{
    json_object_update(memory_check(first, "a line of JSON"), more);
    char *text = memory_check(json_dumps(first, JSON_REAL_PRECISION(9)), "a line of JSON"), *line;
    if (asprintf(&line, "%s\n", text) < 0) memory_failed("a line of JSON");
    line_log_add(l, line);
    free(line);
    free(text);
    json_decref(more);
    json_decref(first);
}

void metrics_answers(metrics *m, int64_t step, const suite_result *r)
{
    if (m->answers.fd < 0) return;
    add_json(&m->answers, json_pack("{s:I}", "step", (json_int_t)step), results_json(r, NULL));
    m->answered = step;
}

void metrics_event(metrics *m, int64_t step, const char *event, json_t *fields)
{
    add_json(&m->steps, json_pack("{s:I, s:s}", "step", (json_int_t)step, "event", event), fields);
}

void metrics_sync(metrics *m)
{
    line_log_sync(&m->steps);
    line_log_sync(&m->answers);
}

status metrics_move(metrics *m, const char *run, message *why)
{
    const status s = line_log_move(&m->steps, run, why);
    message second;
    return line_log_move(&m->answers, run, s == OK ? why : &second) == OK ? s : ERR_INPUT;
}

void metrics_close(metrics *m)
{
    line_log_close(&m->steps);
    line_log_close(&m->answers);
    free(m->val);
    *m = (metrics){.steps.fd = -1, .answers.fd = -1};
}
