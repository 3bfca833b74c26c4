/* Waiting for the disk. A checkpoint is written by threads that nobody can end, on disks that may never
 * answer. The training follows them from step to step. It waits for them before the next checkpoint, unless a
 * disk is silent; before the run goes back; and at the end of the process. In the last two, and while this
 * rank's own thread asks the disk, one that gives no answer ends the job. */
#include "base/clock.h"
#include "base/log.h"
#include "train/saving_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { RETRY_SECONDS = 60, RETRY_TIMES = 10 /* what the try that failed took */ };
enum { LONG_WAIT = 1, LAST_PATIENCE = 600 /* seconds */, ADVICE_BYTES = 400 };

double saving_answer_limit(const saving *s)
{
    return option_real_or(s->t->o->parallel_timeout, patience_limit(&s->t->patience));
}

/* A disk that hangs under a rank does not stop a run that computes; it is said once for each checkpoint. */
static void watch_disk(saving *s, const checkpoint_progress *p)
{
    const comm *c = s->t->c;
    int64_t worst = p->silent > saving_answer_limit(s) ? (int64_t)p->silent * c->size + c->rank : 0;
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

void saving_failed(saving *s, int64_t step, const message *why)
{
    const double pause = fmax(RETRY_SECONDS, RETRY_TIMES * (clock_seconds() - s->began));
    s->owed = true;
    s->again = clock_seconds() + pause;
    log_warning(
        "step %lld has no checkpoint: %s; training goes on, the next try is in %.0f s or when the next "
        "one is due",
        (long long)step, why->text, pause);
}

void saving_follow(saving *s)
{
    const int64_t step = s->writing;
    message why;
    if (follow(s, &why) != OK) saving_failed(s, step, &why);
}

void saving_wait_for_disk(saving *s)
{
    const double start = clock_seconds();
    const int64_t step = s->writing;
    double seconds = 1e-3;
    while (s->writing >= 0 && !s->silent) {
        saving_follow(s);
        if (s->writing >= 0) clock_nap(&seconds);
    }
    if (clock_seconds() - start < LONG_WAIT) return;
    log_line("step %lld: training stood still for %.1f s until the checkpoint of step %lld was written: the "
             "disk is slower than checkpoint.every=%lld",
             (long long)s->t->state.step, clock_seconds() - start, (long long)step,
             (long long)s->t->o->checkpoint_every.number);
}

/* Seconds without an answer of the disk after which the process ends without its checkpoint. A file that has
 * been written at the speed of memory may take minutes to become durable. */
static double last_limit(const saving *s)
{
    const option_REAL_OR_AUTO timeout = s->t->o->parallel_timeout;
    return timeout.word == OPTION_NUMBER ? timeout.number : fmax(LAST_PATIENCE, saving_answer_limit(s));
}

/* Prints what the next start does, without asking the disk. Returns `buffer`. */
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

status saving_written(saving *s, message *why)
{
    double seconds = 1e-3;
    status result = OK;
    while (s->writing >= 0) {
        result = follow(s, why);
        give_up_if_silent(s);
        if (s->writing >= 0) clock_nap(&seconds);
    }
    return result;
}

void saving_wait(saving *s)
{
    const int64_t step = s->writing;
    message why;
    die_place("step %lld, checkpoint", (long long)s->t->state.step);
    if (saving_written(s, &why) != OK) {
        s->owed = true;
        log_warning("step %lld has no checkpoint: %s", (long long)step, why.text);
    }
    if (s->t->c->rank == 0 && !pruner_wait(&s->old, last_limit(s)))
        log_warning("older checkpoints are not removed yet: the disk has not answered for %.0f s",
                    last_limit(s));
}

void saving_watch(const saving *s)
{
    char what[ADVICE_BYTES];
    watchdog_watch(s->dog, saving_answer_limit(s), last_limit(s), advice(s, what, sizeof what));
}
