/* The lock of a run, and its checkpoint to resume from.
 *
 * Two jobs must never write one run: a batch system may start a job again while the old one still ends.
 * RUN/lock is an empty file, and what counts is the flock on it, which the kernel releases when the process
 * ends, however it ends. So no lock is ever stale, and none has to be removed.
 *
 * A flock belongs to the open file and not to its name. While a run is written, a user may rename RUN, remove
 * it, or remove the lock alone. Rank 0 therefore keeps RUN and RUN/lock open, and compares after every step
 * whether the two names still lead to the open files (two system calls):
 *
 *   RUN leads elsewhere, and the open folder
 *     has another name                        renamed: the run continues under that name
 *     has no name                             removed: RUN is made again, unless another job has made it
 *   RUN/lock leads elsewhere                  removed: it is taken again, unless another job has taken it
 *
 * A job that finds another one in its place stops. Nothing it wrote there is lost, and its next start waits
 * for the lock. */
#include "train/run_folder.h"
#include "base/log.h"
#include "train/checkpoint.h"
#include "train/environment.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a start waits for the run before it to end: a killed rank frees its memory before its lock. */
enum { LOCK_SECONDS = 5 };

/* Chooses runs/NAME for the config file NAME.yaml, so that the same command finds the run again. */
static void choose_name(char *out, const char *config_path)
{
    char name[128];
    snprintf(name, sizeof name, "%s", path_base(config_path));
    char *dot = strrchr(name, '.');
    if (dot && dot != name) *dot = 0;
    snprintf(out, PATH_BYTES, "runs/%s", name);
}

/* Makes, locks and opens RUN. `seconds`: how long to wait for another job's lock. */
static status open_first_rank(run_folder *r, int seconds, message *why)
{
    char path[PATH_BYTES];
    TRY(folder_make(r->path, why));
    TRY(folder_lock(r->path, "train.out", seconds, &r->lock, why));
    r->folder = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->folder < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", r->path, strerror(errno));
    log_file(path_join(path, r->path, "train.log"));
    return checkpoint_clean(r->path, why);
}

status run_folder_open(run_folder *r, const options *o, const char *config_path, const comm *c, message *why)
{
    *r = (run_folder){.lock = -1, .folder = -1};
    if (o->train_out[0])
        snprintf(r->path, sizeof r->path, "%s", o->train_out);
    else
        choose_name(r->path, config_path);
    TRY_ROOT(c, open_first_rank(r, LOCK_SECONDS, why), why);
    if (!o->train_out[0]) log_line("train.out is not set: the run is %s", r->path);
    return OK;
}

status run_folder_describe(const run_folder *r, const options *o, json_t *environment, message *why)
{
    char path[PATH_BYTES];
    TRY(options_write(o, path_join(path, r->path, "config.yaml"), why));
    return environment_write(r->path, environment, NULL, why);
}

static void release(run_folder *r)
{
    if (r->lock >= 0) close(r->lock); /* and so unlocks */
    if (r->folder >= 0) close(r->folder);
    r->lock = r->folder = -1;
}

void run_folder_close(run_folder *r)
{
    log_file(NULL);
    release(r);
}

/* ---- while the run is written
 * ------------------------------------------------------------------------------- */

/* Opens the log again and writes again what describes the run, since more than the lock may have been
 * removed. A failure is a warning: a run can continue without these files. */
static void reopen(const run_folder *r, const options *o, json_t *environment)
{
    char path[PATH_BYTES];
    message detail;
    log_file(path_join(path, r->path, "train.log"));
    if (run_folder_describe(r, o, environment, &detail) != OK) log_warning("%s", detail.text);
}

static status lock_again(run_folder *r, message *why)
{
    char path[PATH_BYTES];
    const bool replaced = file_exists(path_join(path, r->path, "lock"));
    int fd;
    if (folder_lock(r->path, "train.out", 0, &fd, why) == OK) {
        if (r->lock >= 0) close(r->lock);
        r->lock = fd;
        log_warning("%s was removed while this run had it: taken again", path);
        return OK;
    }
    if (!replaced) return UNSAVED;
    return fail(why, ERR_INPUT,
                "%s: another job has taken %s, which was removed while this run had it: this one stops, so "
                "that two do not write one run",
                r->path, path);
}

static status make_anew(run_folder *r, message *why)
{
    message occupied;
    if (!r->made && folder_exists(r->path) && folder_check_vacant(r->path, &occupied) != OK)
        return fail(
            why, ERR_INPUT,
            "%s was removed while this run was writing it, and another job has made it anew: this one "
            "stops, so that two do not write one run",
            r->path);
    if (!r->lost)
        log_warning(
            "%s was removed while this run was writing it: it is made anew; metrics and log of the steps "
            "until now are gone",
            r->path);
    r->lost = true;
    release(r);
    r->made = true;
    if (open_first_rank(r, 0, why) != OK) {
        release(r);
        return UNSAVED;
    }
    r->lost = r->made = false;
    return OK;
}

static bool lock_is_ours(const run_folder *r)
{
    char path[PATH_BYTES];
    return path_leads_to(path_join(path, r->path, "lock"), r->lock);
}

static status check_first_rank(run_folder *r, const options *o, json_t *environment, bool *anew, message *why)
{
    char now[PATH_BYTES];
    const bool there = path_leads_to(r->path, r->folder), renamed = !there && folder_path(r->folder, now);
    if (renamed) {
        log_warning("%s was renamed while this run was writing it: it goes on in %s, and the same command "
                    "only with train.out=%s",
                    r->path, now, now);
        strcpy(r->path, now);
        r->renamed = true;
    }
    if ((there || renamed) && lock_is_ours(r)) return OK;
    TRY(there || renamed ? lock_again(r, why) : make_anew(r, why));
    reopen(r, o, environment);
    *anew = true;
    return OK;
}

/* True when nothing has happened to the folder. Costs two system calls and one number between the ranks. */
static bool unchanged(const run_folder *r, const comm *c)
{
    int64_t changed = c->rank == 0 && !(path_leads_to(r->path, r->folder) && lock_is_ours(r));
    comm_max_i64(c, &changed, 1);
    return !changed;
}

status run_folder_check(run_folder *r, const options *o, json_t *environment, const comm *c, bool *anew,
                        message *why)
{
    *anew = false;
    if (unchanged(r, c)) return OK;
    TRY_ROOT(c, check_first_rank(r, o, environment, anew, why), why);
    comm_broadcast(c, r->path, sizeof r->path, 0);
    comm_broadcast(c, anew, sizeof *anew, 0);
    return OK;
}

const char *run_folder_command(const run_folder *r, char *buffer)
{
    if (r->renamed)
        snprintf(buffer, COMMAND_BYTES, "the same command with train.out=%.400s", r->path);
    else
        snprintf(buffer, COMMAND_BYTES, "the same command");
    return buffer;
}

/* ---- where it resumes from ----------------------------------------------------------------------------- */

/* True when `checkpoint` lies in this run's folder. */
static bool own(const run_folder *r, const char *checkpoint)
{
    char folder[PATH_BYTES], real_folder[PATH_MAX], real_checkpoint[PATH_MAX];
    if (!realpath(path_join(folder, r->path, "checkpoints"), real_folder) ||
        !realpath(checkpoint, real_checkpoint))
        return false;
    const size_t length = strlen(real_folder);
    return strncmp(real_checkpoint, real_folder, length) == 0 && real_checkpoint[length] == '/';
}

/* Going back inside a run would mix two histories in one folder. */
static status gone_on(const run_folder *r, const char *path, const char *checkpoint, message *why)
{
    char newest[PATH_MAX], asked[PATH_MAX];
    const bool same = realpath(checkpoint, newest) && realpath(path, asked) && strcmp(newest, asked) == 0;
    if (own(r, path) && !same)
        return fail(why, ERR_USAGE,
                    "train.resume=%s: this run has gone on to %s; to go back, give another train.out; to go "
                    "on, train.resume=auto",
                    path, checkpoint);
    if (!same) log_line("train.resume=%s was where this run began; it has gone on since", path);
    return OK;
}

static status check_folder(const char *path, message *why)
{
    char inside[PATH_BYTES];
    if (!folder_exists(path))
        return fail(why, ERR_INPUT, "train.resume=%s: there is no such checkpoint folder", path);
    if (folder_exists(path_join(inside, path, "checkpoints")))
        return fail(
            why, ERR_INPUT,
            "train.resume=%.300s: is a run: name one of its checkpoints, or give train.out=%.300s to go "
            "on with it",
            path, path);
    return OK;
}

/* train.resume=PATH. A run that has checkpoints of its own resumes from its newest, so that the same command
 * can be given again after a stop. */
static status find_path(const run_folder *r, const char *path, const comm *c, char *checkpoint, message *why)
{
    TRY_ROOT(c, check_folder(path, why), why);
    TRY(checkpoint_newest(r->path, c, checkpoint, why));
    if (checkpoint[0]) return COMM_ROOT(c, gone_on(r, path, checkpoint, why), why);
    TRY(path_print(checkpoint, why, "%s", path));
    return checkpoint_verify_shared(checkpoint, c, why);
}

status run_folder_resume(const run_folder *r, const options *o, const comm *c, char *checkpoint, message *why)
{
    if (strcmp(o->train_resume, "auto") != 0 && strcmp(o->train_resume, "none") != 0)
        return find_path(r, o->train_resume, c, checkpoint, why);
    TRY(checkpoint_newest(r->path, c, checkpoint, why));
    if (checkpoint[0] && strcmp(o->train_resume, "none") == 0)
        return fail(why, ERR_USAGE,
                    "train.resume=none, but %s exists: give another train.out, or train.resume=auto to go on "
                    "from it; nothing is overwritten",
                    checkpoint);
    return OK;
}
