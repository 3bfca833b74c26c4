/* Which checkpoints are complete. Verifying one reads as many bytes as the run's weights and moments have, so
 * a process does it once for each, and remembers what it found until the folder's files change. A damaged one
 * is passed over with a warning. */
#include "base/array.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/checkpoint_parts.h"
#include "train/manifest.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* ---- verifying ----------------------------------------------------------------------------------------- */

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

/* ---- what this process knows --------------------------------------------------------------------------- */

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

void checkpoint_trust(const char *folder)
{
    bool new;
    place_of(folder, &new);
}

bool checkpoint_tell(const char *folder)
{
    bool new;
    known_folder *const k = place_of(folder, &new);
    const bool first = !k->told;
    k->told = true;
    return first;
}

void checkpoint_forget(const char *folder)
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

bool checkpoint_is_complete(const char *folder)
{
    message damage;
    return are_complete(folder, comm_self(), &damage);
}

/* ---- searching ----------------------------------------------------------------------------------------- */

/* Rank 0's steps, on all ranks. The caller frees *steps. */
static status shared_steps(const char *run, const comm *c, int64_t **steps, int64_t *count, message *why)
{
    *steps = NULL;
    *count = 0;
    TRY_ROOT(c, checkpoint_steps(run, steps, count, why), why);
    comm_broadcast(c, count, sizeof *count, 0);
    if (c->rank != 0) *steps = memory_new(*count, sizeof **steps, "%lld checkpoints", (long long)*count);
    comm_broadcast(c, *steps, *count * (int64_t)sizeof **steps, 0);
    return OK;
}

status checkpoint_newest(const char *run, const comm *c, char *folder, message *why)
{
    int64_t *steps, count;
    TRY(shared_steps(run, c, &steps, &count, why));
    message damage = {""};
    int64_t damaged = 0;
    bool found = false;
    for (int64_t i = 0; i < count && !found; i++) {
        checkpoint_folder(folder, run, steps[i]);
        found = are_complete(folder, c, &damage);
        damaged += !found && checkpoint_recognised(folder);
    }
    free(steps);
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
    int64_t *steps, count;
    *step = -1;
    TRY(checkpoint_steps(run, &steps, &count, why));
    for (int64_t i = 0; i < count && *step < 0; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, steps[i]);
        if (steps[i] <= most && !checkpoint_state_far(folder) && checkpoint_is_complete(folder))
            *step = steps[i];
    }
    free(steps);
    return OK;
}
