/* Folders: made, locked, removed. One is committed as a file is (base/file.c): fsync, rename, fsync of its
 * parent. */
#include "base/file.h"
#include "base/clock.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

status folder_make(const char *path, message *why)
{
    char part[PATH_BYTES];
    TRY(path_print(part, why, "%s", path));
    if (!part[0]) return fail(why, ERR_INPUT, "a folder without a name cannot be made");
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/') continue;
        const char end = *p;
        *p = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return fail(why, ERR_INPUT, "%s: cannot be made: %s", part, strerror(errno));
        *p = end;
        if (!end) break;
    }
    return folder_exists(path) ? OK : fail(why, ERR_INPUT, "%s: exists and is not a folder", path);
}

status folder_sync(const char *path, message *why)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    /* Some file systems cannot sync folders and say EINVAL. */
    const int failed = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return failed ? fail(why, ERR_INPUT, "%s: cannot be made durable: %s", path, strerror(failed)) : OK;
}

static status not_removed(const char *path, message *why)
{
    return fail(why, ERR_INPUT, "%s: cannot be removed: %s", path, strerror(errno));
}

/* A link is removed, not what it leads to. */
status folder_remove(const char *path, message *why)
{
    struct stat s;
    if (lstat(path, &s) != 0) return errno == ENOENT ? OK : not_removed(path, why);
    if (!S_ISDIR(s.st_mode)) return unlink(path) == 0 ? OK : not_removed(path, why);
    DIR *dir = opendir(path);
    if (!dir) return not_removed(path, why);
    status result = OK;
    for (const struct dirent *entry; result == OK && (entry = readdir(dir));) {
        char child[PATH_BYTES];
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            result = folder_remove(path_join(child, path, entry->d_name), why);
    }
    closedir(dir);
    if (result == OK && rmdir(path) != 0) result = not_removed(path, why);
    return result;
}

status folder_check_vacant(const char *path, message *why)
{
    struct stat s;
    if (!path[0]) return fail(why, ERR_INPUT, "'' is no name of a folder");
    if (lstat(path, &s) == 0 && S_ISLNK(s.st_mode))
        return fail(why, ERR_INPUT, "%s is a symbolic link: name the folder itself", path);
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return OK;
    if (!dir) return fail(why, ERR_INPUT, "%s: cannot be written as a folder: %s", path, strerror(errno));
    bool empty = true;
    for (const struct dirent *e; empty && (e = readdir(dir));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    closedir(dir);
    if (empty) return OK;
    return fail(why, ERR_INPUT, "%s exists and is not empty; nothing is overwritten: name a new folder",
                path);
}

/* Returns 0 with the lock held, or the error. */
static int try_lock(int fd, const char *path, int seconds)
{
    const double end = clock_seconds() + seconds;
    for (bool said = false;; said = true) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK || clock_seconds() >= end) return errno;
        if (!said) log_line("%s is held by another job: waiting up to %d s for its end", path, seconds);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
}

status folder_lock(const char *folder, const char *option, int seconds, int *fd, message *why)
{
    char path[PATH_BYTES];
    *fd = open(path_join(path, folder, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    const int error = try_lock(*fd, path, seconds);
    if (!error) return OK;
    close(*fd);
    *fd = -1;
    if (error == EWOULDBLOCK)
        return fail(why, ERR_INPUT, "%s: another live job is writing there: wait for it, or give another %s",
                    folder, option);
    return fail(why, ERR_INPUT, "%s: cannot be locked: %s", path, strerror(error));
}

bool folder_path(int fd, char *out)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, out, PATH_BYTES - 1);
    if (length <= 0) return false;
    out[length] = 0;
    return path_leads_to(out, fd); /* of one that is removed the kernel says "... (deleted)" */
}

status folder_commit(const char *temporary, const char *final, message *why)
{
    char parent[PATH_BYTES];
    TRY(folder_sync(temporary, why));
    if (rename(temporary, final) != 0)
        return fail(why, ERR_INPUT, "%s: cannot be renamed to %s: %s", temporary, final, strerror(errno));
    path_parent(parent, final);
    const status s = folder_sync(parent, why);
    if (s != OK) rename(final, temporary); /* who hears of a failure must find nothing of that name */
    return s;
}
