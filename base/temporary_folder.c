/* A folder beside its final name. Its owner holds a lock in it while it works. So the next process that
 * writes the same target can tell a folder that is being written from one whose owner was killed, and removes
 * the latter. */
#include "base/temporary_folder.h"
#include "base/log.h"
#include "base/sweep.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char mark[] = ".remla-tmp-";

/* Whether `name` is "BASE.remla-tmp-123". */
static bool is_temporary(const char *name, const char *base)
{
    const size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 || strncmp(name + length, mark, strlen(mark)) != 0) return false;
    const char *digits = name + length + strlen(mark);
    return *digits && !digits[strspn(digits, "0123456789")];
}

/* The lock of a folder whose owner is alive is taken. */
static void remove_leftover(const char *path)
{
    int fd;
    message why;
    if (folder_lock(path, "target", 0, &fd, &why) != OK) return;
    if (folder_remove(path, &why) == OK)
        log_line("removed %s, which a process that was killed had left", path);
    else
        log_warning("%s", why.text);
    close(fd);
}

static void remove_leftovers(const char *target)
{
    char parent[PATH_BYTES], path[PATH_BYTES];
    const char *base = path_base(target);
    snprintf(parent, sizeof parent, "%.*s", (int)(base - target), target);
    if (!parent[0]) strcpy(parent, ".");
    DIR *dir = opendir(parent);
    if (!dir) return; /* then nothing can be there */
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (is_temporary(entry->d_name, base)) {
            /* The path as the target was given. */
            snprintf(path, sizeof path, "%.*s%.*s", (int)(base - target), target, 255, entry->d_name);
            if (folder_exists(path)) remove_leftover(path);
        }
    closedir(dir);
}

status temporary_folder_open(temporary_folder *t, const char *target, message *why)
{
    *t = (temporary_folder){.lock = -1};
    remove_leftovers(target);
    if (path_print(t->path, why, "%s%s%d", target, mark, (int)getpid()) != OK) {
        t->path[0] = 0;
        return ERR_USAGE;
    }
    TRY(folder_make(t->path, why));
    sweep_on_signal(t->path);
    return folder_lock(t->path, "target", 0, &t->lock, why);
}

static void forget(temporary_folder *t)
{
    sweep_on_signal(NULL);
    if (t->lock >= 0) close(t->lock);
    *t = (temporary_folder){.lock = -1};
}

status temporary_folder_commit(temporary_folder *t, const char *target, message *why)
{
    char lock[PATH_BYTES];
    unlink(path_join(lock, t->path, "lock"));
    TRY(folder_commit(t->path, target, why));
    forget(t);
    return OK;
}

void temporary_folder_close(temporary_folder *t)
{
    message ignored;
    if (t->path[0]) folder_remove(t->path, &ignored);
    forget(t);
}
