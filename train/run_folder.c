#include "train/run_folder.h"
#include "base/log.h"
#include "kernels/machine.h"
#include "train/checkpoint.h"
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* runs/NAME-DATE after the config file: runs/llama2-7b_8xh100-20261124-021530. */
static void choose_name(char *out, const char *config_path)
{
    char name[128], date[32];
    snprintf(name, sizeof name, "%s", path_base(config_path));
    char *dot = strrchr(name, '.');
    if (dot && dot != name) *dot = 0;
    const time_t now = time(NULL);
    struct tm local;
    strftime(date, sizeof date, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
    snprintf(out, PATH_BYTES, "runs/%s-%s", name, date);
}

static status open_first_rank(run_folder *r, message *why)
{
    TRY(folder_make(r->path, why));
    TRY(folder_lock(r->path, "train.out", &r->lock, why));
    return checkpoint_clean(r->path, why);
}

status run_folder_open(run_folder *r, const options *o, const char *config_path, const comm *c, message *why)
{
    *r = (run_folder){.lock = -1};
    if (o->train_out[0])
        snprintf(r->path, sizeof r->path, "%s", o->train_out);
    else
        choose_name(r->path, config_path);
    comm_broadcast(c, r->path, sizeof r->path, 0); /* clocks of hosts differ */
    TRY(comm_agree(c, c->rank == 0 ? open_first_rank(r, why) : OK, why));
    char path[PATH_BYTES];
    log_file(path_join(path, r->path, "train.log"));
    if (!o->train_out[0]) log_line("train.out is not set: writing to %s", r->path);
    return OK;
}

static char *environment_text(const device *d, const comm *c)
{
    char host[256] = "?", date[40];
    gethostname(host, sizeof host - 1);
    const time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s}", "remla", REMLA_VERSION, "compiler", __VERSION__,
                  "host", host, "machine", machine_text(), "device", d ? device_text(d) : "CPU", "ranks",
                  c->size, "threads_per_rank", machine_threads(), "started", date);
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    REQUIRE(text, "no memory for env.json");
    return text;
}

status run_folder_describe(const run_folder *r, const options *o, const device *d, const comm *c,
                           message *why)
{
    char path[PATH_BYTES];
    TRY(options_write(o, path_join(path, r->path, "config.yaml"), why));
    char *text = environment_text(d, c);
    const status s = file_write(path_join(path, r->path, "env.json"), text, (int64_t)strlen(text), NULL, why);
    free(text);
    return s;
}

void run_folder_close(run_folder *r)
{
    log_file(NULL);
    if (r->lock >= 0) close(r->lock); /* and so unlocks */
    r->lock = -1;
}

/* Whether `checkpoint` is one of this run's own. */
static bool own(const run_folder *r, const char *checkpoint)
{
    char folder[PATH_BYTES], real_folder[PATH_MAX], real_checkpoint[PATH_MAX];
    if (!realpath(path_join(folder, r->path, "checkpoints"), real_folder) ||
        !realpath(checkpoint, real_checkpoint))
        return false;
    const size_t length = strlen(real_folder);
    return strncmp(real_checkpoint, real_folder, length) == 0 && real_checkpoint[length] == '/';
}

/* train.resume=PATH. A run that has checkpoints of its own goes on from its newest, so that the same command
 * can be given again after a stop; going back inside a run would mix two histories in one folder. */
static status find_path(const run_folder *r, const char *path, char *checkpoint, message *why)
{
    if (!folder_exists(path))
        return fail(why, ERR_INPUT, "train.resume=%s: there is no such checkpoint folder", path);
    TRY(checkpoint_newest(r->path, checkpoint, why));
    if (!checkpoint[0]) {
        snprintf(checkpoint, PATH_BYTES, "%s", path);
        return checkpoint_verify(checkpoint, why);
    }
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

static status find_first_rank(const run_folder *r, const options *o, char *checkpoint, message *why)
{
    if (strcmp(o->train_resume, "auto") != 0 && strcmp(o->train_resume, "none") != 0)
        return find_path(r, o->train_resume, checkpoint, why);
    TRY(checkpoint_newest(r->path, checkpoint, why));
    if (checkpoint[0] && strcmp(o->train_resume, "none") == 0)
        return fail(why, ERR_USAGE,
                    "train.resume=none, but %s exists: give another train.out, or train.resume=auto to go on "
                    "from it; nothing is overwritten",
                    checkpoint);
    return OK;
}

status run_folder_resume(const run_folder *r, const options *o, const comm *c, char *checkpoint, message *why)
{
    memset(checkpoint, 0, PATH_BYTES);
    TRY(comm_agree(c, c->rank == 0 ? find_first_rank(r, o, checkpoint, why) : OK, why));
    comm_broadcast(c, checkpoint, PATH_BYTES, 0);
    return OK;
}
