/* A result goes to the log and to metrics.jsonl or eval.jsonl. These also say what is still to be done: a run
 * that was killed between the checkpoint of a step and its validation validates at its next start. */
#include "train/assess.h"
#include "base/log.h"
#include "eval/evaluate.h"

static bool validation_due(const training *t)
{
    return t->held_out.samples && (t->state.step == t->steps || option_due(t->o->val_every, t->state.step));
}

static status validate(training *t, metrics *log, message *why)
{
    evaluation e;
    die_place("step %lld, validation", (long long)t->state.step);
    TRY(evaluate(&t->m, &t->acts, &t->held_out, option_or(t->o->val_tokens, ALL_TOKENS), t->c, &e, why));
    log_line("val  %lld | loss %.4f | ppl %.3f | %lld tokens in %.1f s", (long long)t->state.step, e.loss,
             e.ppl, (long long)e.tokens, e.seconds);
    metrics_validation(log, t->state.step, &e);
    return OK;
}

static void validate_or_warn(training *t, metrics *log)
{
    message why;
    if (validate(t, log, &why) != OK)
        log_warning("step %lld is not validated: %s", (long long)t->state.step, why.text);
}

static bool questions_due(const training *t)
{
    return t->questions.suite.tasks &&
           (t->state.step == t->steps || option_due(t->o->eval_every, t->state.step));
}

static void ask_questions(training *t, metrics *log)
{
    suite_result r;
    message why;
    char text[BENCHMARKS_TEXT_BYTES];
    die_place("step %lld, questions", (long long)t->state.step);
    if (benchmarks_ask(&t->questions, &r, &why) != OK) {
        log_warning("step %lld is not evaluated: %s", (long long)t->state.step, why.text);
        return;
    }
    log_line("eval %lld | %s | %lld questions in %.1f s", (long long)t->state.step, benchmarks_text(&r, text),
             (long long)r.questions, r.work.seconds);
    metrics_answers(log, t->state.step, &r);
}

/* Before the first step of this process: the answers that the last process may not have reached. */
static void ask_questions_first(training *t, metrics *log)
{
    int64_t done = log->answered == t->state.step; /* rank 0 knows */
    comm_max_i64(t->c, &done, 1);
    if (!done && questions_due(t)) ask_questions(t, log);
}

/* Before the first step of this process: the validation that the last process may not have reached. Held-out
 * text that is bad from the start stops a run that has nothing to lose yet. */
static status validate_first(training *t, metrics *log, message *why)
{
    int64_t done = log->vals && log->val[log->vals - 1].step == t->state.step; /* rank 0 knows */
    comm_max_i64(t->c, &done, 1);
    if (done || !validation_due(t)) return OK;
    if (t->state.step == 0) return validate(t, log, why);
    validate_or_warn(t, log);
    return OK;
}

status assess_first(training *t, metrics *log, message *why)
{
    TRY(validate_first(t, log, why));
    ask_questions_first(t, log);
    return OK;
}

void assess_due(training *t, metrics *log)
{
    if (validation_due(t)) validate_or_warn(t, log);
    if (questions_due(t)) ask_questions(t, log);
}
