/* Files, with one sentence for everything that can go wrong with them. A file that is written gets its name
 * last, so that a crash, a signal or a full disk leaves the old one or none:
 *
 *     open PATH.part, lock it, empty it     another process that wants to write PATH gets an error
 *     write                                 every byte also goes through the hash
 *     fsync                                 the bytes are on the disk
 *     rename to PATH, fsync the folder      the name is on the disk
 *
 * A folder is committed in the same order: fsync, rename, fsync of its parent. */
#include "base/file.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, MAX_CALL = 1 << 30, MOST_TRIES = 100 };

char *path_join(char *out, const char *folder, const char *name)
{
    const int length = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    if (length >= PATH_BYTES)
        die(ERR_INPUT, "%s/%s: this path is too long, at most %d bytes are possible", folder, name,
            PATH_BYTES - 1);
    return out;
}

status path_print(char *out, message *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(out, PATH_BYTES, format, args);
    va_end(args);
    if (length < PATH_BYTES) return OK;
    return fail(why, ERR_INPUT, "%.200s...: this path is too long, at most %d bytes are possible", out,
                PATH_BYTES - 1);
}

void path_strip(char *path)
{
    for (size_t length = strlen(path); length > 1 && path[length - 1] == '/';) path[--length] = 0;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Writes the folder that `path` lies in; slashes at the end of path do not count. */
static void path_parent(char *out, const char *path)
{
    snprintf(out, PATH_BYTES, "%s", path);
    path_strip(out);
    char *slash = strrchr(out, '/');
    if (!slash)
        strcpy(out, ".");
    else
        slash[slash == out] = 0; /* the slash itself goes, unless it is the root */
}

bool file_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

bool folder_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool path_leads_to(const char *path, int fd)
{
    struct stat named, opened;
    return stat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

int64_t file_bytes(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) ? (int64_t)s.st_size : -1;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

status file_open(const char *path, int *fd, int64_t *bytes, message *why)
{
    struct stat s;
    /* Not blocking: a pipe is refused below instead of waited for. Reads of regular files do not change. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    if (fstat(*fd, &s) == 0 && S_ISREG(s.st_mode)) {
        *bytes = (int64_t)s.st_size;
        return OK;
    }
    close(*fd);
    *fd = -1;
    return fail(why, ERR_INPUT, "%s: is not a regular file", path);
}

status file_read_at(int fd, const char *path, void *data, int64_t bytes, int64_t offset, message *why)
{
    for (int64_t done = 0; done < bytes;) {
        const int64_t want = bytes - done < MAX_CALL ? bytes - done : MAX_CALL;
        const long long at = (long long)(offset + done), left = (long long)(bytes - done);
        const ssize_t got = pread(fd, (char *)data + done, (size_t)want, offset + done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return fail(why, ERR_INPUT, "%s: cannot be read at byte %lld: %s", path, at, strerror(errno));
        if (got == 0)
            return fail(why, ERR_INPUT, "%s: ends at byte %lld, %lld more were expected", path, at, left);
        done += got;
    }
    return OK;
}

status file_read_text(const char *path, int64_t limit, char **text, int64_t *bytes, message *why)
{
    int fd;
    *text = NULL;
    TRY(file_open(path, &fd, bytes, why));
    status s = OK;
    if (*bytes > limit)
        s = fail(why, ERR_INPUT, "%s: has %lld bytes, at most %lld were expected", path, (long long)*bytes,
                 (long long)limit);
    if (s == OK) {
        *text = memory_new(*bytes + 1, 1, "%s", path);
        s = file_read_at(fd, path, *text, *bytes, 0, why);
    }
    if (s == OK) {
        (*text)[*bytes] = 0;
    } else {
        free(*text);
        *text = NULL;
    }
    close(fd);
    return s;
}

status file_hash(const char *path, uint64_t *hash, int64_t *bytes, message *why)
{
    int fd;
    TRY(file_open(path, &fd, bytes, why));
    hash_state *state = hash_start();
    char *chunk = memory_new(CHUNK, 1, "the hash of %s", path);
    status s = OK;
    for (int64_t done = 0; done < *bytes && s == OK; done += CHUNK) {
        const int64_t n = *bytes - done < CHUNK ? *bytes - done : CHUNK;
        s = file_read_at(fd, path, chunk, n, done, why);
        if (s == OK) hash_update(state, chunk, n);
    }
    *hash = hash_finish(state);
    free(chunk);
    close(fd);
    return s;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static const char suffix[] = ".part";

/* A disk, most of all one behind a network, may take forever to answer a call. Who waits for the thread that
 * makes it can see that. */
static _Atomic double answered_at;
static void answered(void) { answered_at = clock_seconds(); }
double file_answered(void) { return answered_at; }
enum { PART_BYTES = PATH_BYTES + sizeof suffix };

static const char *part_of(const file_writer *w, char *out)
{
    snprintf(out, PART_BYTES, "%s%s", w->path, suffix);
    return out;
}

static void forget(file_writer *w)
{
    hash_finish(w->hash);
    *w = (file_writer){.fd = -1};
}

void file_abandon(file_writer *w)
{
    char part[PART_BYTES];
    if (w->fd < 0) return;
    unlink(part_of(w, part)); /* while it is locked: then it is ours */
    close(w->fd);
    forget(w);
}

/* Reports that `what` failed on the bytes from..to, and removes the unfinished file. */
static status give_up(file_writer *w, const char *what, int64_t from, int64_t to, int error, message *why)
{
    const status s = fail(why, ERR_INPUT, "%s: cannot %s bytes %lld to %lld: %s", w->path, what,
                          (long long)from, (long long)to, strerror(error));
    file_abandon(w);
    return s;
}

/* Reserves the blocks of the whole file. posix_fallocate would do, but where the file system cannot reserve
 * (NFS before 4.2, say) the C library writes into every block instead; there a full disk shows while we
 * write. */
static int reserve(int fd, int64_t bytes)
{
    while (fallocate(fd, 0, 0, bytes) != 0)
        if (errno != EINTR) return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
    return 0;
}

/* Opens PATH.part, locks it, and only then empties it, because another process may be writing it. A file that
 * a killed job has left is not locked. */
static status open_part(file_writer *w, message *why)
{
    char part[PART_BYTES];
    part_of(w, part);
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        w->fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (w->fd < 0) return fail(why, ERR_INPUT, "%s: cannot be created: %s", w->path, strerror(errno));
        const bool taken = flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        /* The previous owner may have renamed or removed it between our opening and locking. */
        if (!taken && path_leads_to(part, w->fd))
            return ftruncate(w->fd, 0) == 0 ? OK : give_up(w, "empty", 0, 0, errno, why);
        close(w->fd);
        w->fd = -1;
        if (taken) break;
    }
    return fail(why, ERR_INPUT, "%s: another process is writing it (%s is locked): wait for that one",
                w->path, part);
}

/* Copies the path of the file that is meant: a link's own name would be taken from it by the renaming. */
static status take_path(file_writer *w, const char *path, message *why)
{
    struct stat s;
    char *file = lstat(path, &s) == 0 && S_ISLNK(s.st_mode) ? realpath(path, NULL) : NULL;
    const status result = path_print(w->path, why, "%s", file ? file : path);
    free(file);
    return result;
}

status file_create(file_writer *w, const char *path, int64_t expected, message *why)
{
    struct stat s;
    *w = (file_writer){.fd = -1};
    TRY(take_path(w, path, why));
    /* Renaming would replace a device or a folder's link by a file. */
    if (stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        return fail(why, ERR_INPUT, "%s: cannot be written: it is not a regular file", path);
    if (path_leads_to(w->path, STDOUT_FILENO))
        return fail(why, ERR_INPUT, "%s: cannot be written: it is the standard output", path);
    TRY(open_part(w, why));
    w->hash = hash_start();
    const int error = expected > 0 ? reserve(w->fd, expected) : 0;
    return error ? give_up(w, "reserve", 0, expected, error, why) : OK;
}

status file_append(file_writer *w, const void *data, int64_t bytes, message *why)
{
    for (int64_t done = 0; done < bytes;) {
        const int64_t want = bytes - done < MAX_CALL ? bytes - done : MAX_CALL;
        const ssize_t put = write(w->fd, (const char *)data + done, (size_t)want);
        answered();
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return give_up(w, "write", w->bytes, w->bytes + want, put < 0 ? errno : EIO, why);
        done += put;
        w->bytes += put;
    }
    hash_update(w->hash, data, bytes);
    return OK;
}

status file_patch(file_writer *w, int64_t offset, const void *data, int64_t bytes, message *why)
{
    REQUIRE(offset >= 0 && offset <= w->bytes - bytes, "%s: bytes %lld to %lld of %lld", w->path,
            (long long)offset, (long long)(offset + bytes), (long long)w->bytes);
    for (int64_t done = 0; done < bytes;) {
        const ssize_t put = pwrite(w->fd, (const char *)data + done, (size_t)(bytes - done), offset + done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return give_up(w, "write", offset + done, offset + bytes, put < 0 ? errno : EIO, why);
        done += put;
    }
    return OK;
}

static status make_durable(file_writer *w, message *why)
{
    /* More may have been reserved than was written. */
    const bool durable = ftruncate(w->fd, w->bytes) == 0 && fsync(w->fd) == 0;
    answered();
    if (durable) return OK;
    return give_up(w, "make durable", 0, w->bytes, errno, why);
}

/* Renames a file whose bytes are durable to its final name. Closes the writer, also on failure. */
static status give_name(file_writer *w, message *why)
{
    char part[PART_BYTES];
    part_of(w, part);
    /* Some network file systems report a failed write only on close. The descriptor is gone whatever close
     * says; closing the same number again could close another thread's file. A duplicate holds the lock until
     * the file has its name. */
    const int lock = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
    const int failed = close(w->fd) != 0 || rename(part, w->path) != 0 ? errno : 0;
    answered();
    status s = OK;
    if (failed) {
        s = fail(why, ERR_INPUT, "%s: cannot finish its %lld bytes: %s", w->path, (long long)w->bytes,
                 strerror(failed));
        unlink(part);
    }
    if (lock >= 0) close(lock);
    forget(w);
    return s;
}

status file_finish_all(file_writer *const *w, int count, int *named, message *why)
{
    char parent[PATH_BYTES];
    path_parent(parent, w[0]->path);
    *named = 0;
    status s = OK;
    for (int i = 0; i < count && s == OK; i++) s = make_durable(w[i], why);
    while (*named < count && s == OK) {
        s = give_name(w[*named], why);
        *named += s == OK;
    }
    for (int i = 0; i < count; i++) file_abandon(w[i]); /* on a failure there are some */
    return s == OK ? folder_sync(parent, why) : s;
}

status file_finish(file_writer *w, uint64_t *hash, message *why)
{
    int named;
    if (hash) *hash = hash_value(w->hash);
    return file_finish_all(&w, 1, &named, why);
}

status file_write(const char *path, const void *data, int64_t bytes, uint64_t *hash, message *why)
{
    file_writer w;
    TRY(file_create(&w, path, bytes, why));
    TRY(file_append(&w, data, bytes, why));
    return file_finish(&w, hash, why);
}

status file_copy(const char *from, const char *to, uint64_t *hash, int64_t *bytes, message *why)
{
    int fd;
    file_writer w;
    TRY(file_open(from, &fd, bytes, why));
    char *chunk = memory_new(CHUNK, 1, "a copy of %s", from);
    status s = file_create(&w, to, *bytes, why);
    for (int64_t done = 0; done < *bytes && s == OK; done += CHUNK) {
        const int64_t n = *bytes - done < CHUNK ? *bytes - done : CHUNK;
        s = file_read_at(fd, from, chunk, n, done, why);
        if (s != OK)
            file_abandon(&w);
        else
            s = file_append(&w, chunk, n, why);
    }
    if (s == OK) s = file_finish(&w, hash, why);
    free(chunk);
    close(fd);
    return s;
}

/* ---- folders ------------------------------------------------------------------------------------------ */

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

/* ---- patterns ----------------------------------------------------------------------------------------- */

void path_list_add(path_list *list, const char *path)
{
    list->path = memory_check(realloc(list->path, sizeof *list->path * (size_t)(list->count + 1)),
                              "%d names of files", list->count + 1);
    list->path[list->count++] = memory_check(strdup(path), "the name of %s", path);
}

status path_list_expand(path_list *out, const char *const *patterns, int count, message *why)
{
    *out = (path_list){0};
    for (int i = 0; i < count; i++) {
        if (file_exists(patterns[i])) {
            path_list_add(out, patterns[i]);
            continue;
        }
        glob_t found;
        const int error = glob(patterns[i], 0, NULL, &found);
        if (error == GLOB_NOSPACE) memory_failed("the files of %s", patterns[i]);
        if (error) {
            path_list_free(out);
            return fail(why, ERR_INPUT, "%s: %s", patterns[i],
                        error == GLOB_NOMATCH ? "no file matches" : "cannot be searched");
        }
        for (size_t j = 0; j < found.gl_pathc; j++) path_list_add(out, found.gl_pathv[j]);
        globfree(&found);
    }
    return OK;
}

void path_list_free(path_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->path[i]);
    free(list->path);
    *list = (path_list){0};
}
