/* Files, with one sentence for everything that can go wrong with them. A file that is written gets its name
 * last, so that a crash, a signal or a full disk leaves the old one or none:
 *
 *     open PATH.part, lock it, empty it     another process that wants to write PATH gets an error
 *     write                                 every byte also goes through the hash
 *     fsync                                 the bytes are on the disk
 *     rename to PATH, fsync the folder      the name is on the disk */
#include "base/file.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, MAX_CALL = 1 << 30, MOST_TRIES = 100 };

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
