/* The order of what a kill may interrupt:
 *
 *   wait for a checkpoint that is being written      what there is to go back to must not depend on the disk
 *   remove the checkpoints after the target          the newest first; those left are still of the old way
 *   load the target, as a start does
 *   cut metrics.jsonl to the target's step           as a start does
 *   the next checkpoint records what was passed over: from here on a start is on the new way */
#include "train/rollback.h"
#include "base/log.h"
#include <stdio.h>

static void pass_over(checkpoint_state *s, int64_t to, const char *why)
{
    passed_over *p = &s->passed[s->passes++];
    *p = (passed_over){.step = s->step, .from = s->position, .to = to};
    snprintf(p->why, sizeof p->why, "%s", why);
    s->position = to;
}

status rollback_state(checkpoint_state *then, const checkpoint_state *now, const char *reason, message *why)
{
    bool past = then->step < now->step && then->passes <= now->passes && now->passes < PASSES;
    for (int i = 0; past && i < then->passes; i++)
        past = then->passed[i].step == now->passed[i].step && then->passed[i].to == now->passed[i].to;
    for (int i = then->passes; past && i < now->passes; i++) {
        past = now->passed[i].to > then->position;
        pass_over(then, now->passed[i].to, now->passed[i].why);
    }
    if (!past || now->position <= then->position)
        return fail(why, ERR_INPUT,
                    "the checkpoint of step %lld, position %lld, is not from the past of this run, which "
                    "is at step %lld, position %lld",
                    (long long)then->step, (long long)then->position, (long long)now->step,
                    (long long)now->position);
    pass_over(then, now->position, reason);
    return OK;
}

/* ---- the decision -------------------------------------------------------------------------------------- */

static bool skips(const saving *s) { return s->watch.skips >= LOSS_WATCH_SKIPS; }

/* Prints what has happened, as a clause. */
static void describe(const saving *s, const step_result *r, char *text, size_t bytes)
{
    const long long now = s->t->state.step;
    if (skips(s))
        snprintf(text, bytes, "loss or gradient was not finite in steps %lld to %lld",
                 now - (long long)s->watch.skips + 1, now);
    else
        snprintf(text, bytes, "in steps %lld to %lld the loss, last %.5g, was far above its past, %.5g",
                 now - (long long)s->watch.far + 1, now, r->loss, s->watch.past);
}

/* The last step whose weights are known to be good. The loss of a step is of the weights that the step before
 * has made: those that a first far loss is of are not good, but the ones before them are. So are those that
 * the run went back to last time, even if the data behind what it passed over was no better. */
static int64_t last_good(const saving *s)
{
    const checkpoint_state *now = &s->t->state;
    const int64_t before = now->step - s->watch.far - 1,
                  last = now->passes ? now->passed[now->passes - 1].step : -1;
    return before > last ? before : last;
}

/* Rank 0 only. */
static status find_target(const saving *s, int64_t *step, message *why)
{
    const training *t = s->t;
    if (t->state.passes >= t->o->train_rollbacks)
        return fail(why, ERR_INPUT, "train.rollbacks=%lld, and it has gone back %d times",
                    (long long)t->o->train_rollbacks, t->state.passes);
    TRY(checkpoint_before(s->run->path, last_good(s), step, why));
    if (*step < 0)
        return fail(why, ERR_INPUT, "it has no whole checkpoint from before its loss was far above its past");
    return checkpoint_remove_after(s->run->path, *step, why);
}

/* Goes on as it was, or ends. `refusal`: why it cannot go back. */
static status stay(const saving *s, const step_result *r, const char *refusal, message *why)
{
    const long long now = s->t->state.step;
    char newest[NEWEST_BYTES];
    if (skips(s))
        return fail(why, DIVERGED,
                    "step %lld: loss or gradient was not finite %d steps in a row; %.400s: %s in another "
                    "train.out, with a lower optim.lr; it could not go back by itself: %.300s",
                    now, LOSS_WATCH_SKIPS, saving_newest(s, newest),
                    s->newest < 0 ? "begin anew,"
                                  : "go on from it or an older one (train.resume), or from the beginning,",
                    refusal);
    if (s->watch.far == LOSS_WATCH_FAR)
        log_warning("step %lld: a loss of %.4f, and for %d steps, is far above its past, %.4f: until it is "
                    "below %.4f again, checkpoints are neither written when due nor removed; it could not go "
                    "back: %s",
                    now, r->loss, LOSS_WATCH_FAR, s->watch.past, loss_watch_limit(&s->watch), refusal);
    return OK;
}

/* ---- the way back -------------------------------------------------------------------------------------- */

static status go_back(saving *s, int64_t step, const char *reason, message *why)
{
    training *t = s->t;
    const checkpoint_state now = t->state;
    char folder[PATH_BYTES];
    loss_watch watch = {.taken = 0};
    checkpoint_folder(folder, s->run->path, step);
    TRY(training_resume(t, folder, why));
    TRY(rollback_state(&t->state, &now, reason, why));
    const passed_over *p = &t->state.passed[t->state.passes - 1];
    log_warning(
        "step %lld: %s: the run has gone back to %s, and passes over positions %lld to %lld of the data "
        "order (%d of train.rollbacks=%lld)",
        (long long)now.step, reason, folder, (long long)p->from, (long long)p->to, t->state.passes,
        (long long)t->o->train_rollbacks);
    metrics_close(s->log);
    TRY_ALL(t->c,
            metrics_open(s->log, s->run->path, &t->state, t->c->rank, t->questions.suite.tasks, &watch, why),
            why);
    saving_rewind(s, &watch);
    return OK;
}

status rollback(saving *s, const step_result *r, bool *back, message *why)
{
    const comm *c = s->t->c;
    message refusal;
    char reason[PASSED_OVER_WHY];
    int64_t step = -1; /* rank 0 finds it */
    *back = false;
    if (!loss_watch_exploded(&s->watch)) return OK;
    saving_wait(s);
    if (COMM_ROOT(c, find_target(s, &step, &refusal), &refusal) != OK) return stay(s, r, refusal.text, why);
    comm_max_i64(c, &step, 1);
    describe(s, r, reason, sizeof reason);
    TRY(go_back(s, step, reason, why));
    *back = true;
    return OK;
}
