/* RUN/checkpoints: its names, and how they change. Users keep copies there, so a folder or file of another
 * kind is never touched. The names, and who may have them:
 *
 *   step-00000012               a checkpoint, or whatever a user has put there
 *   .remla-tmp-step-00000012    one that is being written, or removed: remla's, and worth nothing
 *   .remla-old-step-00000012    one that is being replaced by another of the same step: remla's, and it gets
 *                               its name back when the new one did not make it
 *
 * A checkpoint is replaced by two renames, step -> old and tmp -> step. A kill between them leaves no
 * step-00000012, only the old one: the next start (checkpoint_clean) renames it back. A checkpoint is removed
 * by way of tmp, so that no half-removed folder has the name of a checkpoint. */
#include "base/array.h"
#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint_parts.h"
#include "train/manifest.h"
#include "train/state_files.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* The name of a checkpoint while another of the same step takes its place. */
static void old_folder(char *out, const char *run, int64_t step) { named(out, run, old_prefix, step); }

bool checkpoint_step(const char *name, int64_t *step)
{
    char again[40];
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return false;
    *step = strtoll(name + 5, NULL, 10);
    snprintf(again, sizeof again, "step-%08lld", (long long)*step);
    return strcmp(name, again) == 0; /* step-5 and step-000000012 are not remla's */
}

/* True when `name` is the prefix and a checkpoint's name after it. */
static bool has_prefix(const char *prefix, const char *name, int64_t *step)
{
    const size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && checkpoint_step(name + length, step);
}

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

status checkpoint_steps(const char *run, int64_t **steps, int64_t *count, message *why)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    DIR *dir;
    int64_t capacity = 0;
    *steps = NULL;
    *count = 0;
    checkpoints_folder(folder, run);
    TRY(open_folder(folder, &dir, why));
    if (!dir) return OK;
    for (const struct dirent *entry; (entry = readdir(dir));) {
        int64_t step;
        if (!checkpoint_step(entry->d_name, &step) || !folder_exists(path_join(path, folder, entry->d_name)))
            continue;
        *steps = array_reserve(*steps, &capacity, *count + 1, sizeof **steps);
        (*steps)[(*count)++] = step;
    }
    closedir(dir);
    if (*count) qsort(*steps, (size_t)*count, sizeof **steps, falling);
    return OK;
}

bool checkpoint_recognised(const char *folder)
{
    char path[PATH_BYTES], name[STATE_FILE_NAME];
    return manifest_exists(folder) || file_exists(path_join(path, folder, CHECKPOINT_STATE)) ||
           file_exists(path_join(path, folder, state_file_name(name, 0)));
}

/* ---- names change owners ------------------------------------------------------------------------------- */

/* An empty folder, not a link to one. */
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
    const bool copy = !missing && checkpoint_state_differs(final, step);
    *replaces = !missing && !copy && folder_exists(final) && checkpoint_recognised(final);
    if (missing || *replaces || empty_folder(final)) return OK;
    return fail(why, ERR_INPUT,
                "%s: is in the way of the checkpoint of step %lld: it is %s; move it elsewhere", final,
                (long long)step,
                copy                 ? "a copy of another step's"
                : S_ISLNK(s.st_mode) ? "a link"
                : S_ISDIR(s.st_mode) ? "a folder of other files"
                                     : "not a folder");
}

/* A checkpoint of the same step (the run was rolled back) keeps its name until the new one is ready. */
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
        /* checkpoint_clean leaves an old one only beside a damaged `final`, and the new one replaces both. */
        TRY(folder_remove(old, why));
        TRY(folder_commit(final, old, why));
    }
    const status s = folder_commit(temporary, final, why);
    if (s != OK && replaces) folder_commit(old, final, &ignored);
    TRY(s);
    checkpoint_trust(final); /* all of it was synced before it was renamed */
    if (replaces && folder_remove(old, &ignored) != OK)
        log_warning("%s, which has been replaced, cannot be removed: %s", old, ignored.text);
    return OK;
}

/* After a kill during a replacement: the old checkpoint gets its name back, or goes when the new one is
 * complete. */
static status finish_replacement(const char *old, const char *final, message *why)
{
    struct stat s;
    if (lstat(final, &s) != 0) return folder_commit(old, final, why);
    if (checkpoint_is_complete(final)) return folder_remove(old, why);
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
        if (has_prefix(temporary_prefix, entry->d_name, &step)) s = folder_remove(path, why);
        if (!has_prefix(old_prefix, entry->d_name, &step)) continue;
        checkpoint_folder(final, run, step);
        s = finish_replacement(path, final, why);
    }
    if (dir) closedir(dir);
    return s;
}
