/* RUN/checkpoints: which of its folders are checkpoints, which of these are whole, which may go. People keep
 * copies there, and disks lose bits: what is not whole is passed over with a warning and never counted, and
 * what is not ours is not touched. */
#include "base/array.h"
#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint_parts.h"
#include "train/manifest.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* ---- names --------------------------------------------------------------------------------------------- */

static const char temporary_prefix[] = ".remla-tmp-", old_prefix[] = ".remla-old-";

static void checkpoints_folder(char *out, const char *run) { path_join(out, run, "checkpoints"); }

static void named(char *out, const char *run, const char *prefix, int64_t step)
{
    char folder[PATH_BYTES], name[64];
    checkpoints_folder(folder, run);
    snprintf(name, sizeof name, "%sstep-%08lld", prefix, (long long)step);
    path_join(out, folder, name);
}

void checkpoint_folder(char *out, const char *run, int64_t step) { named(out, run, "", step); }

void checkpoint_temporary(char *out, const char *run, int64_t step)
{
    named(out, run, temporary_prefix, step);
}

/* What a checkpoint of the same step is called while another takes its name. */
static void old_folder(char *out, const char *run, int64_t step) { named(out, run, old_prefix, step); }

bool checkpoint_step(const char *name, int64_t *step)
{
    char again[40];
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return false;
    *step = strtoll(name + 5, NULL, 10);
    snprintf(again, sizeof again, "step-%08lld", (long long)*step);
    return strcmp(name, again) == 0; /* step-5 and step-000000012 are somebody else's */
}

/* Whether `name` is that of a step behind the prefix. */
static bool behind(const char *prefix, const char *name, int64_t *step)
{
    const size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && checkpoint_step(name + length, step);
}

typedef struct step_list {
    int64_t *step; /* falling */
    int64_t count, room;
} step_list;

static int falling(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static status open_folder(const char *folder, DIR **dir, message *why)
{
    *dir = opendir(folder);
    if (*dir || errno == ENOENT) return OK;
    return fail(why, ERR_INPUT, "%s: cannot be listed: %s", folder, strerror(errno));
}

/* Steps whose folders there are. */
static status steps_of(const char *run, step_list *list, message *why)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    DIR *dir;
    *list = (step_list){0};
    checkpoints_folder(folder, run);
    TRY(open_folder(folder, &dir, why));
    if (!dir) return OK;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        int64_t step;
        if (!checkpoint_step(entry->d_name, &step) || !folder_exists(path_join(path, folder, entry->d_name)))
            continue;
        list->step = array_reserve(list->step, &list->room, list->count + 1, sizeof *list->step);
        list->step[list->count++] = step;
    }
    closedir(dir);
    if (list->count) qsort(list->step, (size_t)list->count, sizeof *list->step, falling);
    return OK;
}

/* ---- which are whole ----------------------------------------------------------------------------------- */

status checkpoint_verify(const char *folder, message *why)
{
    TRY(manifest_verify(folder, why));
    return state_verify(folder, why);
}

/* Whether a folder is, or was once, a checkpoint; anything else is somebody's. */
static bool is_checkpoint(const char *folder)
{
    char path[PATH_BYTES];
    return manifest_exists(folder) || file_exists(path_join(path, folder, CHECKPOINT_STATE)) ||
           file_exists(path_join(path, folder, CHECKPOINT_MOMENTS));
}

/* What this process knows of a folder. A checkpoint is as large as the run's memory, so it is read once, not
 * at every prune. */
typedef struct known_folder {
    uint64_t path, content; /* hashes: of its name, of names, sizes and times of its files */
    message damage;         /* "" for a folder that is whole */
    bool told;              /* that it stays for what else is in it */
} known_folder;

static known_folder *known;
static int64_t num_known, room_known;

static uint64_t content_of(const char *folder)
{
    DIR *dir = opendir(folder);
    uint64_t sum = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_BYTES];
        struct stat s = {0};
        if (entry->d_name[0] == '.' || stat(path_join(path, folder, entry->d_name), &s) != 0) continue;
        const int64_t facts[] = {(int64_t)XXH3_64bits(entry->d_name, strlen(entry->d_name)), s.st_size,
                                 (int64_t)s.st_ino, s.st_mtim.tv_sec, s.st_mtim.tv_nsec};
        sum += XXH3_64bits(facts, sizeof facts); /* in any order */
    }
    if (dir) closedir(dir);
    return sum;
}

/* The folder's place in the list; it is new when it has not been there, or is not any more what it was. */
static known_folder *place_of(const char *folder, bool *new)
{
    const uint64_t path = XXH3_64bits(folder, strlen(folder)), content = content_of(folder);
    int64_t i = 0;
    while (i < num_known && known[i].path != path) i++;
    *new = i == num_known || known[i].content != content;
    if (i == num_known) {
        known = array_reserve(known, &room_known, num_known + 1, sizeof *known);
        num_known++;
    }
    if (*new) known[i] = (known_folder){.path = path, .content = content};
    return &known[i];
}

static void forget(const char *folder)
{
    const uint64_t path = XXH3_64bits(folder, strlen(folder));
    for (int64_t i = 0; i < num_known; i++)
        if (known[i].path == path) known[i] = known[--num_known];
}

/* Whether the checkpoint is whole. One that is not is told of when it is found; `damage` (may be NULL) has
 * what is wrong. */
static bool whole(const char *folder, message *damage)
{
    bool new;
    known_folder *k = place_of(folder, &new);
    if (new &&checkpoint_verify(folder, &k->damage) != OK)
        log_warning("passing over %s: %s", folder, k->damage.text);
    if (damage) *damage = k->damage;
    return !k->damage.text[0];
}

status checkpoint_newest(const char *run, char *folder, message *why)
{
    step_list list;
    TRY(steps_of(run, &list, why));
    message damage = {""};
    int damaged = 0;
    bool found = false;
    for (int64_t i = 0; i < list.count && !found; i++) {
        checkpoint_folder(folder, run, list.step[i]);
        found = whole(folder, &damage);
        damaged += !found && is_checkpoint(folder);
    }
    free(list.step);
    if (found) return OK;
    folder[0] = 0;
    if (!damaged) return OK;
    return fail(why, ERR_INPUT, "%s: none of its %d checkpoints is whole; the oldest: %.700s", run, damaged,
                damage.text);
}

/* ---- names change hands -------------------------------------------------------------------------------- */

/* A folder without anything in it, not a link to one. */
static bool empty_folder(const char *path)
{
    message ignored;
    return folder_exists(path) && folder_check_vacant(path, &ignored) == OK;
}

status checkpoint_vacant(const char *run, int64_t step, bool *replaces, message *why)
{
    char final[PATH_BYTES];
    struct stat s;
    checkpoint_folder(final, run, step);
    const bool missing = lstat(final, &s) != 0;
    const bool copy = !missing && state_of_another_step(final, step);
    *replaces = !missing && !copy && folder_exists(final) && is_checkpoint(final);
    if (missing || *replaces || empty_folder(final)) return OK;
    return fail(why, ERR_INPUT,
                "%s: is in the way of the checkpoint of step %lld: it is %s; move it elsewhere", final,
                (long long)step,
                copy                 ? "a copy of another step's"
                : S_ISLNK(s.st_mode) ? "a link"
                : S_ISDIR(s.st_mode) ? "a folder of other files"
                                     : "not a folder");
}

/* A checkpoint of the same step (the run was rolled back) makes room only when the new one is ready. */
status checkpoint_publish(const char *run, int64_t step, message *why)
{
    char temporary[PATH_BYTES], final[PATH_BYTES], old[PATH_BYTES];
    message ignored;
    bool replaces;
    checkpoint_temporary(temporary, run, step);
    checkpoint_folder(final, run, step);
    old_folder(old, run, step);
    TRY(checkpoint_vacant(run, step, &replaces, why));
    if (replaces) {
        TRY(folder_remove(old,
                          why)); /* checkpoint_clean has left it: then what is called `final` is damaged */
        TRY(folder_commit(final, old, why));
    }
    const status s = folder_commit(temporary, final, why);
    if (s != OK && replaces) folder_commit(old, final, &ignored);
    TRY(s);
    bool new;
    place_of(final, &new); /* is whole */
    if (replaces && folder_remove(old, &ignored) != OK)
        log_warning("%s, which has been replaced, cannot be removed: %s", old, ignored.text);
    return OK;
}

/* What was killed while it was being replaced gets its name back, or goes when what replaced it is whole. */
static status settle_old(const char *old, const char *final, message *why)
{
    struct stat s;
    if (lstat(final, &s) != 0) return folder_commit(old, final, why);
    if (whole(final, NULL)) return folder_remove(old, why);
    log_warning("%s stays: %s, which was to replace it, is not whole", old, final);
    return OK;
}

status checkpoint_clean(const char *run, message *why)
{
    char folder[PATH_BYTES];
    DIR *dir;
    checkpoints_folder(folder, run);
    TRY(folder_make(folder, why));
    TRY(open_folder(folder, &dir, why));
    status s = OK;
    for (const struct dirent *entry; dir && s == OK && (entry = readdir(dir));) {
        char path[PATH_BYTES], final[PATH_BYTES];
        int64_t step;
        path_join(path, folder, entry->d_name);
        if (behind(temporary_prefix, entry->d_name, &step)) s = folder_remove(path, why);
        if (!behind(old_prefix, entry->d_name, &step)) continue;
        checkpoint_folder(final, run, step);
        s = settle_old(path, final, why);
    }
    if (dir) closedir(dir);
    return s;
}

/* ---- pruning ------------------------------------------------------------------------------------------- */

/* Whether it is a checkpoint of this very name and nothing else, which is cheap to know, because its weights
 * are not read. What is wrong is said once. */
static bool removable(const char *folder)
{
    message ignored, more;
    const bool ours = manifest_check(folder, &ignored) == OK && state_verify(folder, &ignored) == OK;
    if (ours && manifest_lists_all(folder, &more) == OK) return true;
    bool new;
    if (!whole(folder, NULL) || !ours) return false;
    known_folder *k = place_of(folder, &new);
    if (!k->told) log_warning("%s stays: %s", folder, more.text);
    k->told = true;
    return false;
}

static status retire(const char *run, int64_t step, message *why)
{
    char folder[PATH_BYTES], temporary[PATH_BYTES];
    checkpoint_folder(folder, run, step);
    checkpoint_temporary(temporary, run, step);
    if (!removable(folder)) return OK;
    /* First its name, so that no half-deleted folder looks like a checkpoint. */
    TRY(folder_remove(temporary, why));
    TRY(folder_commit(folder, temporary, why));
    forget(folder);
    return folder_remove(temporary, why);
}

status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why)
{
    step_list list;
    TRY(steps_of(run, &list, why));
    int64_t kept = 0;
    status s = OK;
    for (int64_t i = 0; i < list.count && list.count > keep && s == OK; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, list.step[i]);
        if (kept < keep)
            kept += whole(folder, NULL);
        else if (list.step[i] != best)
            s = retire(run, list.step[i], why);
    }
    free(list.step);
    return s;
}
