/* Which checkpoints may go: old ones, and those of a history that the run goes back on. What is damaged is
 * never counted, and what a user has put into a folder keeps it. */
#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint_parts.h"
#include "train/manifest.h"
#include <stdlib.h>

/* True when the folder is a checkpoint of the step in its name and holds nothing else. Cheap, because it
 * reads no weights. A warning says once what is wrong. */
static bool removable(const char *folder)
{
    message ignored, more;
    const bool ours =
        manifest_check(folder, &ignored) == OK && checkpoint_state_verify(folder, &ignored) == OK;
    if (ours && manifest_lists_all(folder, &more) == OK) return true;
    const bool whole = checkpoint_is_complete(folder); /* warns of a damaged one */
    if (ours && whole && checkpoint_tell(folder)) log_warning("%s stays: %s", folder, more.text);
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
    checkpoint_forget(folder);
    return folder_remove(temporary, why);
}

status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why)
{
    int64_t *steps, count;
    TRY(checkpoint_steps(run, &steps, &count, why));
    int64_t kept = 0;
    status s = OK;
    for (int64_t i = 0; i < count && count > keep && s == OK; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, steps[i]);
        if (kept < keep)
            kept += checkpoint_is_complete(folder);
        else if (steps[i] != best)
            s = retire(run, steps[i], why);
    }
    free(steps);
    return s;
}

status checkpoint_remove_after(const char *run, int64_t step, message *why)
{
    int64_t *steps, count;
    TRY(checkpoint_steps(run, &steps, &count, why));
    status s = OK;
    for (int64_t i = 0; i < count && steps[i] > step && s == OK; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, steps[i]);
        if (!checkpoint_is_complete(folder)) continue;
        s = retire(run, steps[i], why);
        if (s == OK && folder_exists(folder))
            s = fail(why, ERR_INPUT, "%s is newer, and holds other files", folder);
    }
    free(steps);
    return s;
}
