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
#include "train/saving.h"
#include "base/clock.h"
#include "base/log.h"
#include "train/rank_check.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

enum { RETRY_SECONDS = 60, RETRY_TIMES = 10 /* what the try that failed took */ };
enum { LONG_WAIT = 1, LAST_PATIENCE = 600 /* seconds */, ADVICE_BYTES = 400 };
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

void saving_start(saving *s, training *t, run_folder *run, metrics *log, const loss_watch *watch,
                  int64_t newest)
{
    /* A run that was killed between saving and removing has one checkpoint too many. */
    *s = (saving){
        .t = t, .run = run, .log = log, .watch = *watch, .newest = newest, .writing = -1, .crowded = true};
    comm_broadcast(t->c, &s->watch, sizeof s->watch, 0);
    s->dog = watchdog_start(t->c);
}

void saving_rewind(saving *s, const loss_watch *watch)
{
    const pruner old = s->old;
    watchdog_stop(s->dog);
    saving_start(s, s->t, s->run, s->log, watch, step_of(s));
    s->old = old;
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
    TRY(run_folder_check(s->run, t->o, t->m.k, t->c, &anew, why));
    if (!anew) return OK;
    if (metrics_move(s->log, s->run->path, &detail) != OK) log_warning("%s", detail.text);
    int64_t there = t->c->rank == 0 && s->newest >= 0 && has_checkpoint(s, s->newest);
    comm_max_i64(t->c, &there, 1);
    if (!there) s->newest = -1;
    return OK;
}

/* ---- the one that is being written --------------------------------------------------------------------- */

/* Seconds without an answer of the disk after which it counts as silent. */
static double answer_limit(const saving *s)
{
    return option_real_or(s->t->o->parallel_timeout, patience_limit(&s->t->patience));
}

/* A disk that hangs under a rank does not stop a run that computes; it is said once for each checkpoint. */
static void watch_disk(saving *s, const checkpoint_progress *p)
{
    const comm *c = s->t->c;
    int64_t worst = p->silent > answer_limit(s) ? (int64_t)p->silent * c->size + c->rank : 0;
    comm_max_i64(c, &worst, 1);
    s->unanswered = p->silent;
    if (s->silent || !worst) return;
    s->silent = true;
    log_warning("the checkpoint of step %lld: the disk under rank %d on %s has not answered for %lld s",
                (long long)s->writing, (int)(worst % c->size), comm_host(c, (int)(worst % c->size)),
                (long long)(worst / c->size));
}

static void written(saving *s, const checkpoint_progress *p)
{
    log_line("checkpoint %s/checkpoints/step-%08lld in %.1f s (training stood still for %.2f s) | weights "
             "%016" PRIx64,
             s->run->path, (long long)p->step, p->seconds, s->stall, p->weights);
    s->newest = p->step;
    s->again = 0;
    s->crowded = true;
}

/* Takes the checkpoint that is being written further, if there is one. UNSAVED: it has failed. */
static status follow(saving *s, message *why)
{
    checkpoint_progress p;
    if (s->writing < 0) return OK;
    const status result = checkpoint_poll(s->t->writer, false, &p, why);
    if (result == OK && p.running) {
        watch_disk(s, &p);
        return OK;
    }
    s->writing = -1;
    if (result != OK) return UNSAVED;
    written(s, &p);
    return OK;
}

/* A checkpoint that failed while the training goes on. */
static void failed(saving *s, int64_t step, const message *why)
{
    const double pause = fmax(RETRY_SECONDS, RETRY_TIMES * (clock_seconds() - s->began));
    s->owed = true;
    s->again = clock_seconds() + pause;
    log_warning(
        "step %lld has no checkpoint: %s; training goes on, the next try is in %.0f s or when the next "
        "one is due",
        (long long)step, why->text, pause);
}

static void follow_or_warn(saving *s)
{
    const int64_t step = s->writing;
    message why;
    if (follow(s, &why) != OK) failed(s, step, &why);
}

static void nap(double *seconds)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * *seconds)}, NULL);
    *seconds = fmin(2 * *seconds, 0.05);
}

/* Before the next one: waits for the one that is being written, unless its disk gives no answer. */
static void wait_for_disk(saving *s)
{
    const double start = clock_seconds();
    const int64_t step = s->writing;
    double seconds = 1e-3;
    while (s->writing >= 0 && !s->silent) {
        follow_or_warn(s);
        if (s->writing >= 0) nap(&seconds);
    }
    if (clock_seconds() - start < LONG_WAIT) return;
    log_line("step %lld: training stood still for %.1f s until the checkpoint of step %lld was written: the "
             "disk is slower than checkpoint.every=%lld",
             (long long)step_of(s), clock_seconds() - start, (long long)step,
             (long long)s->t->o->checkpoint_every.number);
}

/* Seconds without an answer of the disk after which the process ends without its checkpoint. A file that has
 * been written at the speed of memory may take minutes to become durable. */
static double last_limit(const saving *s)
{
    const option_REAL_OR_AUTO timeout = s->t->o->parallel_timeout;
    return timeout.word == OPTION_NUMBER ? timeout.number : fmax(LAST_PATIENCE, answer_limit(s));
}

/* What a start does, without asking the disk. */
static const char *advice(const saving *s, char *buffer, size_t bytes)
{
    char command[COMMAND_BYTES];
    run_folder_command(s->run, command);
    if (s->newest < 0)
        snprintf(buffer, bytes, "there is no checkpoint yet, and %.300s begins anew", command);
    else
        snprintf(buffer, bytes, "that of step %lld is the newest, and %.300s goes on from it",
                 (long long)s->newest, command);
    return buffer;
}

/* A thread that waits for a disk cannot be ended, and would keep the process. */
static void give_up_if_silent(const saving *s)
{
    char what[ADVICE_BYTES];
    if (s->writing < 0 || s->unanswered < last_limit(s)) return;
    die(UNSAVED, "the disk has not answered for %.0f s; %s", s->unanswered, advice(s, what, sizeof what));
}

/* Waits for the checkpoint that is being written. UNSAVED: it has failed. */
static status wait_written(saving *s, message *why)
{
    double seconds = 1e-3;
    status result = OK;
    while (s->writing >= 0) {
        result = follow(s, why);
        give_up_if_silent(s);
        if (s->writing >= 0) nap(&seconds);
    }
    return result;
}

void saving_wait(saving *s)
{
    const int64_t step = s->writing;
    message why;
    die_place("step %lld, checkpoint", (long long)step_of(s));
    if (wait_written(s, &why) != OK) {
        s->owed = true;
        log_warning("step %lld has no checkpoint: %s", (long long)step, why.text);
    }
    if (s->t->c->rank == 0 && !pruner_wait(&s->old, last_limit(s)))
        log_warning("older checkpoints are not removed yet: the disk has not answered for %.0f s",
                    last_limit(s));
}

void saving_stop(saving *s)
{
    saving_wait(s);
    pruner_stop(&s->old);
    watchdog_stop(s->dog);
}

void saving_end(saving *s) { prune(s); }

/* This thread asks the disk, too. What it asks is little, but it may wait for an answer as long as others. */
static void watch(const saving *s)
{
    char what[ADVICE_BYTES];
    watchdog_watch(s->dog, answer_limit(s), last_limit(s), advice(s, what, sizeof what));
}

status saving_step(saving *s, const step_result *r, message *why)
{
    const status folder = check_folder(s, why); /* the next save will report a folder that is gone */
    if (folder != OK && folder != UNSAVED) return folder;
    follow_or_warn(s);
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
             pruner_wait(&s->old, answer_limit(s)) ? OK
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
    watch(s);
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
    wait_for_disk(s);
    prune(s);
    s->began = clock_seconds();
    if (s->writing < 0) return begin(s, why);
    return fail(why, UNSAVED, "the disk has not taken that of step %lld yet", (long long)s->writing);
}

status saving_due(saving *s, message *why)
{
    const option_INT_OR_NONE every = s->t->o->checkpoint_every;
    const bool due = every.word == OPTION_NUMBER && step_of(s) % every.number == 0;
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
    if (result == UNSAVED) failed(s, step_of(s), why);
    return result == UNSAVED ? OK : result;
}

/* Writes the checkpoint of this step. UNSAVED: another try may succeed. */
static status save(saving *s, message *why)
{
    TRY(begin(s, why));
    return wait_written(s, why);
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
