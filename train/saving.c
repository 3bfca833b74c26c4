/* The policy of checkpoints around checkpoint_begin and checkpoint_prune. Two fears shape it:
 *
 *   lost work   a disk that is full for an hour must not end a run of a week. A save that fails leaves the
 *               step `owed`, and is tried again until it succeeds. Only the last save of the process can fail
 *               for good: UNSAVED, and a launcher starts again from the checkpoint before it.
 *   lost past   a run whose loss has exploded must not replace its good checkpoints by bad ones. A step's
 *               loss is of the weights before its update, so it judges the checkpoint of the step before:
 *               removing waits for the next step (`crowded`).
 *
 * Every rank writes its part, and each has its own clock. What decides about a collective call is therefore
 * agreed on, or broadcast, first. */
#include "base/clock.h"
#include "base/log.h"
#include "train/rank_check.h"
#include "train/saving_parts.h"
#include <math.h>
#include <stdio.h>
#include <time.h>

enum { REASON_BYTES = 80 };
/* Seconds between the tries at the end. A batch system kills soon after its signal. */
static const int pauses[] = {1, 4};
enum { PAUSES = sizeof pauses / sizeof pauses[0] };

static int64_t step_of(const saving *s) { return s->t->state.step; }

static bool has_checkpoint(const saving *s, int64_t step)
{
    char folder[PATH_BYTES];
    checkpoint_folder(folder, s->run->path, step);
    return folder_exists(folder);
}

const char *saving_newest(const saving *s, char *buffer)
{
    char folder[PATH_BYTES];
    if (s->newest < 0 || !has_checkpoint(s, s->newest)) {
        snprintf(buffer, NEWEST_BYTES, "there is no checkpoint yet");
    } else {
        checkpoint_folder(folder, s->run->path, s->newest);
        snprintf(buffer, NEWEST_BYTES, "%s is the newest checkpoint", folder);
    }
    return buffer;
}

/* The losses so far, of rank 0. */
static void take_watch(saving *s, const loss_watch *watch)
{
    s->watch = *watch;
    comm_broadcast(s->t->c, &s->watch, sizeof s->watch, 0);
}

void saving_start(saving *s, training *t, run_folder *run, metrics *log, const loss_watch *watch,
                  int64_t newest)
{
    /* A run that was killed between saving and removing has one checkpoint too many. */
    *s = (saving){.t = t, .run = run, .log = log, .newest = newest, .writing = -1, .crowded = true};
    take_watch(s, watch);
    s->dog = watchdog_start(t->c);
}

void saving_rewind(saving *s, const loss_watch *watch)
{
    s->newest = step_of(s);
    s->owed = s->skipped = s->said = false;
    s->again = 0;
    s->crowded = true;
    take_watch(s, watch);
}

/* ---- removing ------------------------------------------------------------------------------------------ */

/* Returns the step with the lowest validation loss among those that have a checkpoint; -1: none. */
static int64_t best_step(const saving *s)
{
    const validation *best = NULL;
    for (const validation *v = s->log->val; v < s->log->val + s->log->vals; v++) {
        if (isfinite(v->loss) && (!best || v->loss < best->loss) && has_checkpoint(s, v->step)) best = v;
    }
    return best ? best->step : -1;
}

static void prune(saving *s)
{
    const options *o = s->t->o;
    if (!s->crowded || s->watch.far || s->writing >= 0) return;
    s->crowded = false;
    if (s->t->c->rank == 0)
        pruner_run(&s->old, s->run->path, o->checkpoint_keep, o->checkpoint_keep_best ? best_step(s) : -1);
}

/* Reports that a loss which was far above its past for more than a few steps is back. */
static void say_back(saving *s)
{
    if (s->watch.far >= LOSS_WATCH_FAR) s->said = true;
    if (s->watch.far || !s->said) return;
    s->said = false;
    log_line("step %lld: the loss is not far above its past any more: checkpoints as before",
             (long long)step_of(s));
}

/* Follows the run's folder when it was moved or removed. UNSAVED: it is gone, and cannot be made again yet.
 */
static status check_folder(saving *s, message *why)
{
    const training *t = s->t;
    bool anew;
    message detail;
    TRY(run_folder_check(s->run, t->o, t->environment, t->c, &anew, why));
    if (!anew) return OK;
    if (metrics_move(s->log, s->run->path, &detail) != OK) log_warning("%s", detail.text);
    int64_t there = t->c->rank == 0 && s->newest >= 0 && has_checkpoint(s, s->newest);
    comm_max_i64(t->c, &there, 1);
    if (!there) s->newest = -1;
    return OK;
}

void saving_stop(saving *s)
{
    saving_wait(s);
    pruner_stop(&s->old);
    watchdog_stop(s->dog);
}

void saving_end(saving *s) { prune(s); }

status saving_step(saving *s, const step_result *r, message *why)
{
    const status folder = check_folder(s, why); /* the next save will report a folder that is gone */
    if (folder != OK && folder != UNSAVED) return folder;
    saving_follow(s);
    loss_watch_add(&s->watch, r->loss, r->skipped);
    s->skipped = r->skipped;
    say_back(s);
    prune(s);
    return OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static status begin_watched(saving *s, message *why)
{
    training *t = s->t;
    TRY(check_folder(s, why));
    metrics_sync(s->log);
    TRY_ROOT(t->c,
             pruner_wait(&s->old, saving_answer_limit(s))
                 ? OK
                 : fail(why, UNSAVED, "older ones are still being removed"),
             why);
    s->began = clock_seconds();
    t->state.far = s->watch.far > 0;
    return checkpoint_begin(t->writer, s->run->path, &t->state, why) == OK ? OK : UNSAVED;
}

/* Returns UNSAVED, with the reason in `why`, when another try may succeed. */
static status begin(saving *s, message *why)
{
    const double start = clock_seconds();
    die_place("step %lld, checkpoint", (long long)step_of(s));
    TRY(rank_check_weights(s->t, why));
    saving_watch(s);
    const status result = begin_watched(s, why);
    watchdog_rest(s->dog);
    if (result != OK) return result;
    s->writing = step_of(s);
    s->stall = clock_seconds() - start;
    s->unanswered = 0;
    s->silent = false;
    s->owed = false;
    return OK;
}

/* True when it is time to repeat a save that failed. Rank 0's clock decides. */
static bool time_has_come(const saving *s)
{
    int64_t come = s->t->c->rank == 0 && clock_seconds() >= s->again;
    comm_max_i64(s->t->c, &come, 1);
    return come;
}

/* Prints why checkpoints are held back. Returns `buffer`. */
static const char *reason(const saving *s, char *buffer)
{
    if (s->skipped)
        snprintf(buffer, REASON_BYTES, "its update was skipped");
    else
        snprintf(buffer, REASON_BYTES, "the loss is far above its past, %.4f", s->watch.past);
    return buffer;
}

/* Reports a checkpoint that is due and not written. */
static void hold(saving *s)
{
    char why[REASON_BYTES], newest[NEWEST_BYTES];
    s->said = true;
    log_warning("step %lld has no checkpoint, since %s; %s", (long long)step_of(s), reason(s, why),
                saving_newest(s, newest));
}

/* The training may wait for an older one to be written. */
static status begin_due(saving *s, message *why)
{
    saving_wait_for_disk(s);
    prune(s);
    s->began = clock_seconds();
    if (s->writing < 0) return begin(s, why);
    return fail(why, UNSAVED, "the disk has not taken that of step %lld yet", (long long)s->writing);
}

status saving_due(saving *s, message *why)
{
    const bool due = option_due(s->t->o->checkpoint_every, step_of(s));
    s->owed = s->owed || due;
    if (!s->owed) return OK;
    if (s->watch.far) {
        if (due) hold(s);
        return OK;
    }
    /* What was held back is made up for now, even if an older one is still being written: in which steps
     * there are checkpoints, and so where a rollback leads, must not depend on the disk's speed. */
    if (!due && s->again > 0 && (s->writing >= 0 || !time_has_come(s))) return OK;
    const status result = begin_due(s, why);
    if (result == UNSAVED) saving_failed(s, step_of(s), why);
    return result == UNSAVED ? OK : result;
}

/* Writes the checkpoint of this step. UNSAVED: another try may succeed. */
static status save(saving *s, message *why)
{
    TRY(begin(s, why));
    return saving_written(s, why);
}

status saving_last(saving *s, message *why)
{
    saving_wait(s);
    if (s->newest == step_of(s)) return OK;
    char held[REASON_BYTES];
    if (s->watch.far)
        log_warning("step %lld: the checkpoint is written, but none is removed, since %s",
                    (long long)step_of(s), reason(s, held));
    status result = save(s, why);
    for (int i = 0; i < PAUSES && result == UNSAVED; i++) {
        log_warning("step %lld has no checkpoint: %s; trying again in %d s", (long long)step_of(s), why->text,
                    pauses[i]);
        nanosleep(&(struct timespec){.tv_sec = pauses[i]}, NULL);
        result = save(s, why);
    }
    if (result != UNSAVED) return result;
    const message cause = *why;
    char newest[NEWEST_BYTES], command[COMMAND_BYTES];
    return fail(why, UNSAVED, "step %lld has no checkpoint: %.300s; %.300s, and %.300s %s",
                (long long)step_of(s), cause.text, saving_newest(s, newest),
                run_folder_command(s->run, command),
                s->newest < 0 || !has_checkpoint(s, s->newest) ? "begins anew" : "goes on from it");
}
