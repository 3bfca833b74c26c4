/* RUN/checkpoints: which of its folders are checkpoints, which of these are complete, which may go. Users
 * keep copies there, and disks lose bits. A damaged checkpoint is passed over with a warning and never
 * counted, and a folder or file of another kind is never touched.
 *
 * The names, and who may have them:
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

typedef struct step_list {
    int64_t *step; /* the newest first */
    int64_t count, capacity;
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

/* Lists the steps of the folders that have a checkpoint's name. The caller frees list->step. */
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
        list->step = array_reserve(list->step, &list->capacity, list->count + 1, sizeof *list->step);
        list->step[list->count++] = step;
    }
    closedir(dir);
    if (list->count) qsort(list->step, (size_t)list->count, sizeof *list->step, falling);
    return OK;
}

status checkpoint_steps(const char *run, int64_t **steps, int64_t *count, message *why)
{
    step_list list;
    const status s = steps_of(run, &list, why);
    *steps = list.step;
    *count = list.count;
    return s;
}

/* ---- which are complete -------------------------------------------------------------------------------- */

/* Every rank looks at the small files, which say what the large ones must be. */
static status verify_share(const char *folder, const comm *c, message *why)
{
    TRY(manifest_verify_share(folder, c->rank, c->size, why));
    return checkpoint_state_verify(folder, why);
}

status checkpoint_verify_shared(const char *folder, const comm *c, message *why)
{
    return comm_agree(c, verify_share(folder, c, why), why);
}

status checkpoint_verify(const char *folder, message *why)
{
    return checkpoint_verify_shared(folder, comm_self(), why);
}

bool checkpoint_recognised(const char *folder)
{
    char path[PATH_BYTES], name[STATE_FILE_NAME];
    return manifest_exists(folder) || file_exists(path_join(path, folder, CHECKPOINT_STATE)) ||
           file_exists(path_join(path, folder, state_file_name(name, 0)));
}

/* This process's knowledge of a folder. Verifying a checkpoint reads as many bytes as the run's weights and
 * moments have, so each is read once, and not at every prune. */
typedef struct known_folder {
    uint64_t path, content; /* hashes: of its name; of names, sizes and times of its files */
    message damage;         /* "" for a complete checkpoint */
    bool told;              /* a warning has said that it stays because it holds other files */
} known_folder;

static known_folder *known;
static int64_t num_known, known_capacity;

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

/* Returns the folder's entry, good until the next call. *new: it was not in the list, or its files have
 * changed since. */
static known_folder *place_of(const char *folder, bool *new)
{
    const uint64_t path = XXH3_64bits(folder, strlen(folder)), content = content_of(folder);
    int64_t i = 0;
    while (i < num_known && known[i].path != path) i++;
    *new = i == num_known || known[i].content != content;
    if (i == num_known) {
        known = array_reserve(known, &known_capacity, num_known + 1, sizeof *known);
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

/* Verifies a checkpoint with all ranks and returns whether it is complete. Rank 0 remembers it, and warns of
 * a damaged one when it is first seen. `damage` gets what is wrong. Collective. */
static bool are_complete(const char *folder, const comm *c, message *damage)
{
    bool new = false;
    known_folder *const k = c->rank == 0 ? place_of(folder, &new) : NULL;
    comm_broadcast(c, &new, sizeof new, 0);
    *damage = (message){""};
    const status s = new ? checkpoint_verify_shared(folder, c, damage) : OK;
    if (k && s != OK) log_warning("passing over %s: %s", folder, damage->text);
    if (k && new) k->damage = *damage;
    if (k) *damage = k->damage;
    comm_broadcast(c, damage, sizeof *damage, 0);
    return !damage->text[0];
}

/* The same on one rank alone. */
static bool is_complete(const char *folder)
{
    message damage;
    return are_complete(folder, comm_self(), &damage);
}

/* Rank 0's steps, on all ranks. The caller frees list->step. */
static status shared_steps(const char *run, const comm *c, step_list *list, message *why)
{
    *list = (step_list){0};
    TRY_ROOT(c, steps_of(run, list, why), why);
    comm_broadcast(c, &list->count, sizeof list->count, 0);
    list->step = array_reserve(list->step, &list->capacity, list->count, sizeof *list->step);
    comm_broadcast(c, list->step, list->count * (int64_t)sizeof *list->step, 0);
    return OK;
}

status checkpoint_newest(const char *run, const comm *c, char *folder, message *why)
{
    step_list list;
    TRY(shared_steps(run, c, &list, why));
    message damage = {""};
    int64_t damaged = 0;
    bool found = false;
    for (int64_t i = 0; i < list.count && !found; i++) {
        checkpoint_folder(folder, run, list.step[i]);
        found = are_complete(folder, c, &damage);
        damaged += !found && checkpoint_recognised(folder);
    }
    free(list.step);
    if (found) return OK;
    folder[0] = 0;
    comm_broadcast(c, &damaged, sizeof damaged, 0);
    if (!damaged) return OK;
    return fail(why, ERR_INPUT,
                "%.200s: none of its %lld checkpoints is whole; the oldest: %.400s; to begin anew, move "
                "%.200s/checkpoints elsewhere",
                run, (long long)damaged, damage.text, run);
}

status checkpoint_before(const char *run, int64_t most, int64_t *step, message *why)
{
    step_list list;
    *step = -1;
    TRY(steps_of(run, &list, why));
    for (int64_t i = 0; i < list.count && *step < 0; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, list.step[i]);
        if (list.step[i] <= most && !checkpoint_state_far(folder) && is_complete(folder))
            *step = list.step[i];
    }
    free(list.step);
    return OK;
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
    bool new;
    place_of(final, &new); /* it was verified before it was renamed */
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
    if (is_complete(final)) return folder_remove(old, why);
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

/* ---- pruning ------------------------------------------------------------------------------------------- */

/* True when the folder is a checkpoint of the step in its name and holds nothing else. Cheap, because it
 * reads no weights. A warning says once what is wrong. */
static bool removable(const char *folder)
{
    message ignored, more;
    const bool ours =
        manifest_check(folder, &ignored) == OK && checkpoint_state_verify(folder, &ignored) == OK;
    if (ours && manifest_lists_all(folder, &more) == OK) return true;
    bool new;
    if (!is_complete(folder) || !ours) return false;
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
    /* Its name goes first, so that no half-removed folder looks like a checkpoint. */
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
            kept += is_complete(folder);
        else if (list.step[i] != best)
            s = retire(run, list.step[i], why);
    }
    free(list.step);
    return s;
}

status checkpoint_remove_after(const char *run, int64_t step, message *why)
{
    step_list list;
    TRY(steps_of(run, &list, why));
    status s = OK;
    for (int64_t i = 0; i < list.count && list.step[i] > step && s == OK; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, list.step[i]);
        if (!is_complete(folder)) continue;
        s = retire(run, list.step[i], why);
        if (s == OK && folder_exists(folder))
            s = fail(why, ERR_INPUT, "%s is newer, and holds other files", folder);
    }
    free(list.step);
    return s;
}
