/* remla train CONFIG.yaml [section.key=value ...]: the main job. Read this file first: it is a training run
 * from start to end. */
#include "base/log.h"
#include "base/stop.h"
#include "train/commands/commands.h"
#include "train/assess.h"
#include "train/progress.h"
#include "train/rollback.h"
#include "train/saving.h"
#include "train/start.h"
#include "train/training.h"
#include <signal.h>
#include <string.h>

/* *elsewhere: the checkpoint is not one of this run's own. */
static status resume(training *t, const run_folder *run, start *begin, bool *elsewhere, message *why)
{
    char checkpoint[PATH_BYTES];
    *elsewhere = false;
    *begin = (start){.changes = NULL};
    TRY(run_folder_resume(run, t->o, t->c, checkpoint, why));
    if (!checkpoint[0]) return OK;
    TRY(training_resume(t, checkpoint, why));
    const size_t length = strlen(run->path); /* runs/ab is not inside runs/a */
    *elsewhere = strncmp(checkpoint, run->path, length) != 0 || checkpoint[length] != '/';
    log_line("resumed from %s: step %lld, %lld tokens", checkpoint, (long long)t->state.step,
             (long long)t->state.tokens);
    start_from(begin, t, checkpoint);
    if (t->state.step <= t->steps) return OK;
    return fail(why, ERR_USAGE, "train.steps=%lld, but %s has taken %lld steps already", (long long)t->steps,
                checkpoint, (long long)t->state.step);
}

/* Training data that cannot be read: nothing is wrong with the weights. */
static status stop_for_data(saving *keep, message *why)
{
    const message cause = *why;
    char newest[NEWEST_BYTES], command[COMMAND_BYTES];
    if (keep->t->state.step == 0) return ERR_INPUT; /* there is nothing to save */
    const status saved = saving_last(keep, why);
    if (saved != OK) log_warning("%s", cause.text); /* why it stops, which the last sentence does not say */
    TRY(saved);
    return fail(why, ERR_DATA, "%.300s; stopped after step %lld; %.300s: repair the data, and %.300s goes on",
                cause.text, (long long)keep->t->state.step, saving_newest(keep, newest),
                run_folder_command(keep->run, command));
}

static status train(training *t, saving *keep, metrics *log, message *why)
{
    const int64_t most = option_or(t->o->train_stop_after, INT64_MAX); /* steps of this process */
    char newest[NEWEST_BYTES], command[COMMAND_BYTES];
    progress p;
    progress_start(&p, t);
    int64_t taken = 0;
    int signal = 0;

    while (t->state.step < t->steps && !signal && taken < most) {
        step_result r;
        const status s = training_step(t, &r, why);
        if (s == ERR_DATA) return stop_for_data(keep, why);
        TRY(s);
        taken++;
        progress_step(&p, t, &r, log);
        TRY(saving_step(keep, &r, why));

        bool back;
        TRY(rollback(keep, &r, &back, why)); /* a run that has exploded */
        if (back) {
            taken--; /* or a process of few steps could go this way again and again */
            progress_pause(&p);
            continue;
        }
        signal = r.signal;
        const bool last = t->state.step == t->steps, stops = last || signal || taken == most;
        TRY(stops ? saving_last(keep, why) : saving_due(keep, why)); /* whatever comes of what follows */
        assess_due(t, log);
        progress_pause(&p); /* these and saving are not part of the next step's time */
    }
    saving_end(keep);
    if (signal && t->state.step < t->steps)
        return fail(why, STOPPED, "stopped by signal %d after step %lld; %.400s, and %.400s goes on", signal,
                    (long long)t->state.step, saving_newest(keep, newest),
                    run_folder_command(keep->run, command));
    log_line("done: step %lld of %lld, %lld tokens, in %s", (long long)t->state.step, (long long)t->steps,
             (long long)t->state.tokens, keep->run->path);
    return OK;
}

static status run_training(training *t, run_folder *run, message *why)
{
    metrics log;
    saving keep;
    loss_watch watch = {.taken = 0};
    start begin;
    bool elsewhere;
    TRY(resume(t, run, &begin, &elsewhere, why));
    TRY_ROOT(t->c, run_folder_describe(run, t->o, t->environment, why), why);
    TRY_ALL(t->c, metrics_open(&log, run->path, &t->state, t->c->rank, t->questions.suite.tasks, &watch, why),
            why);
    start_record(&begin, t, &log);
    saving_start(&keep, t, run, &log, &watch, elsewhere || !t->state.step ? -1 : t->state.step);
    /* A run that has nothing left to do leaves its last step's checkpoint all the same. */
    status s = t->state.step == t->steps ? saving_last(&keep, why) : OK;
    if (s == OK) s = assess_first(t, &log, why);
    if (s == OK) s = train(t, &keep, &log, why);
    saving_stop(&keep);
    metrics_close(&log);
    return s;
}

/* Signals that ask for a stop are caught, one terminal less is none: the log has its lines. */
static void catch_signals(const comm *c)
{
    signal(SIGPIPE, SIG_IGN);
    if (c->rank == 0)
        stop_announce("stopping with a checkpoint after this step",
                      c->mpirun
                          ? "from mpirun, which kills this job within about two seconds; SIGUSR1 to mpirun "
                            "leaves time for a checkpoint"
                          : NULL);
    stop_catch();
}

status cmd_train(const command_line *line, options *o, const comm *c, message *why)
{
    training t;
    run_folder run = {.lock = -1, .folder = -1};
    catch_signals(c);
    status s = training_open(&t, o, c, why);
    if (s == OK) s = run_folder_open(&run, o, line->positional[0], c, why);
    if (s == OK) {
        s = run_training(&t, &run, why);
        if (s != OK) log_file_line("ended: %s", why->text);
    }
    run_folder_close(&run);
    training_close(&t);
    stop_announce(NULL, NULL); /* mpirun ends the ranks that are left when one has ended with an exit code */
    return s;
}
