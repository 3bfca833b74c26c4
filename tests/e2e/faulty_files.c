/* Preloaded by the scripts that look for the moment at which a run loses something: a disk that fails, a
 * process that dies, at a chosen one of the calls that change files below the folder FAULT_UNDER. The
 * environment says what happens:
 *
 *   FAULT_RANK    only on this rank; else on all
 *   FAULT_CALLS   only these calls count, a list with commas; else all: open (that may make or empty a
 *                 file), write, pwrite, ftruncate, fallocate, fsync, close (of what is open for writing),
 *                 rename, unlink, rmdir, mkdir
 *   FAULT_AT      the number of the call, from 1; those of all threads of a rank count together
 *   FAULT_DO      what happens there:
 *                 kill   the process dies before the call
 *                 done   it dies after the call
 *                 half   it dies after half of a write
 *                 job    mpirun dies before the call, then this process
 *                 fail   the call, and later ones that count, fail with FAULT_ERRNO, FAULT_TIMES at most
 *                        (a close that fails has closed, as on Linux)
 *                 flip   one bit of what is written is another one
 *                 slow   this call and all later ones take FAULT_MS milliseconds more
 *   FAULT_COUNT   a file for the number of calls, FAULT_COUNT.RANK, when the process exits
 *   FAULT_SAID    a file for a line about the call that was hit
 *   FAULT_LOG     a file for a record of every call of all ranks, in the order in which they took effect:
 *                 power_cut.py makes of it what a disk may hold after a power cut
 *
 * A record is a line of fields between tabs: kind, inode, path, other path, number, bytes that follow; then
 * these bytes. Number is the offset of a write, the size of a truncation, 1 where open made the file. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef enum { NOTHING, KILL, DONE, HALF, JOB, FAIL, FLIP, SLOW } action;
static const char *const actions[] = {"", "kill", "done", "half", "job", "fail", "flip", "slow"};

static struct {
    const char *under, *calls, *said, *log, *count;
    long at, times, milliseconds;
    int error, log_fd;
    action what;
} fault;
static atomic_long counted, failed;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static int open_append(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void start(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *only = getenv("FAULT_RANK"),
               *what = getenv("FAULT_DO");
    fault.log_fd = -1;
    if (only && rank && strcmp(only, rank) != 0) return;
    fault.under = getenv("FAULT_UNDER");
    fault.calls = getenv("FAULT_CALLS");
    fault.said = getenv("FAULT_SAID");
    fault.count = getenv("FAULT_COUNT");
    fault.at = number("FAULT_AT", 0);
    fault.times = number("FAULT_TIMES", LONG_MAX);
    fault.milliseconds = number("FAULT_MS", 0);
    fault.error = (int)number("FAULT_ERRNO", EIO);
    for (int i = 1; what && i <= SLOW; i++)
        if (strcmp(what, actions[i]) == 0) fault.what = (action)i;
    if (getenv("FAULT_LOG")) fault.log_fd = open_append(getenv("FAULT_LOG"));
}

/* The path with its folder, but not the last part, resolved: `at` is a folder's descriptor or AT_FDCWD. */
static void absolute(char out[PATH_MAX], int at, const char *path)
{
    char folder[PATH_MAX], link[64];
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
        return;
    }
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    const ssize_t n = readlink(link, folder, sizeof folder - 1);
    folder[n > 0 ? n : 0] = 0;
    if (snprintf(out, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX) out[0] = 0;
}

static void opened(char out[PATH_MAX], int fd)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = 0;
}

static bool is_under(const char *path)
{
    const size_t n = fault.under ? strlen(fault.under) : 0;
    return n && strncmp(path, fault.under, n) == 0 && (path[n] == '/' || !path[n]);
}

static bool counts(const char *kind)
{
    const size_t n = strlen(kind);
    for (const char *p = fault.calls; p; p = strchr(p, ','), p += p != NULL)
        if (strncmp(p, kind, n) == 0 && (p[n] == ',' || !p[n])) return true;
    return !fault.calls;
}

static void say(long at, const char *kind, const char *path)
{
    char line[PATH_MAX + 64];
    const int fd = fault.said ? open_append(fault.said) : -1;
    if (fd < 0) return;
    const int n = snprintf(line, sizeof line, "%ld %s %s\n", at, kind, path);
    syscall(SYS_write, fd, line, n);
    syscall(SYS_close, fd);
}

static void die_now(void)
{
    for (;;) kill(getpid(), SIGKILL);
}

/* One call: between begin and end nobody else's call takes effect, where there is a record. */
typedef struct call {
    bool under;
    action what;
    int error;
} call;

static call begin(const char *kind, const char *path)
{
    pthread_once(&once, start);
    call c = {.under = is_under(path)};
    if (!c.under) return c;
    if (fault.log_fd >= 0) {
        pthread_mutex_lock(&one_at_a_time);
        while (syscall(SYS_flock, fault.log_fd, LOCK_EX) != 0) {
        }
    }
    if (!counts(kind)) return c;
    const long at = atomic_fetch_add(&counted, 1) + 1;
    const bool on = fault.what == FAIL || fault.what == SLOW ? at >= fault.at : at == fault.at;
    if (!fault.at || !on || fault.what == NOTHING) return c;
    c.what = fault.what;
    if (c.what == FAIL && atomic_fetch_add(&failed, 1) >= fault.times) c.what = NOTHING;
    if (c.what == SLOW)
        nanosleep(&(struct timespec){.tv_sec = fault.milliseconds / 1000,
                                     .tv_nsec = fault.milliseconds % 1000 * 1000000},
                  NULL);
    if (c.what == NOTHING || c.what == SLOW) return c;
    say(at, kind, path);
    if (c.what == JOB) kill(getppid(), SIGKILL);
    if (c.what == KILL || c.what == JOB) die_now();
    c.error = fault.error;
    return c;
}

static void record(const char *kind, ino_t inode, const char *path, const char *to, long long value,
                   const void *data, size_t bytes)
{
    char line[2 * PATH_MAX + 100];
    if (fault.log_fd < 0) return;
    const int n = snprintf(line, sizeof line, "%s\t%llu\t%s\t%s\t%lld\t%zu\n", kind,
                           (unsigned long long)inode, path, to, value, bytes);
    syscall(SYS_write, fault.log_fd, line, n);
    if (bytes) syscall(SYS_write, fault.log_fd, data, bytes);
}

static void end(const call *c)
{
    const int error = errno;
    if (c->what == DONE || c->what == HALF) die_now();
    if (c->under && fault.log_fd >= 0) {
        syscall(SYS_flock, fault.log_fd, LOCK_UN);
        pthread_mutex_unlock(&one_at_a_time);
    }
    errno = error;
}

static int refuse(call *c)
{
    end(c);
    errno = c->error;
    return -1;
}

static ino_t inode_of(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 ? s.st_ino : 0;
}

static ino_t inode_at(int at, const char *path)
{
    struct stat s;
    return fstatat(at, path, &s, AT_SYMLINK_NOFOLLOW) == 0 ? s.st_ino : 0;
}

__attribute__((destructor)) static void write_count(void)
{
    char path[PATH_MAX], line[32];
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    pthread_once(&once, start);
    if (!fault.count || !atomic_load(&counted)) return;
    snprintf(path, sizeof path, "%s.%s", fault.count, rank ? rank : "0");
    unlink(path);
    const int fd = open_append(path);
    const int n = snprintf(line, sizeof line, "%ld\n", atomic_load(&counted));
    syscall(SYS_write, fd, line, n);
    syscall(SYS_close, fd);
}

/* ---- names --------------------------------------------------------------------------------------------- */

static int open_file(int at, const char *path, int flags, mode_t mode)
{
    char name[PATH_MAX];
    absolute(name, at, path);
    /* Opening to read, or a folder, changes nothing. */
    const bool changes = flags & (O_CREAT | O_TRUNC);
    call c = begin("open", changes ? name : "");
    if (c.what == FAIL) return refuse(&c);
    const bool there = !changes || inode_at(at, path) != 0;
    const int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    const int error = errno;
    if (fd >= 0 && c.under) {
        record("open", inode_of(fd), name, "", !there, NULL, 0);
        if (there && flags & O_TRUNC) record("ftruncate", inode_of(fd), name, "", 0, NULL, 0);
    }
    errno = error;
    end(&c);
    return fd;
}

#define MODE(mode, flags)                                                                                    \
    va_list args;                                                                                            \
    va_start(args, flags);                                                                                   \
    const mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;                          \
    va_end(args)

int open(const char *path, int flags, ...)
{
    MODE(mode, flags);
    return open_file(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    MODE(mode, flags);
    return open_file(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...)
{
    MODE(mode, flags);
    return open_file(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...)
{
    MODE(mode, flags);
    return open_file(at, path, flags, mode);
}
/* What open becomes where the compiler checks its arguments. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);
int __open_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return open_file(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return open_file(at, path, flags, 0); }
int creat(const char *path, mode_t mode)
{
    return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

static int rename_file(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    absolute(a, from_at, from);
    absolute(b, to_at, to);
    call c = begin("rename", b);
    if (c.what == FAIL) return refuse(&c);
    const ino_t inode = inode_at(from_at, from);
    const int result = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (result == 0 && c.under) record("rename", inode, a, b, 0, NULL, 0);
    end(&c);
    return result;
}
int rename(const char *from, const char *to) { return rename_file(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return rename_file(from_at, from, to_at, to, 0);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    return rename_file(from_at, from, to_at, to, flags);
}

static int remove_name(const char *kind, int at, const char *path, int flags)
{
    char name[PATH_MAX];
    absolute(name, at, path);
    call c = begin(kind, name);
    if (c.what == FAIL) return refuse(&c);
    const ino_t inode = inode_at(at, path);
    const int result = (int)syscall(SYS_unlinkat, at, path, flags);
    if (result == 0 && c.under) record(kind, inode, name, "", 0, NULL, 0);
    end(&c);
    return result;
}
int unlink(const char *path) { return remove_name("unlink", AT_FDCWD, path, 0); }
int rmdir(const char *path) { return remove_name("rmdir", AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int at, const char *path, int flags)
{
    return remove_name(flags & AT_REMOVEDIR ? "rmdir" : "unlink", at, path, flags);
}
int remove(const char *path)
{
    struct stat s;
    return lstat(path, &s) == 0 && S_ISDIR(s.st_mode) ? rmdir(path) : unlink(path);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    char name[PATH_MAX];
    absolute(name, at, path);
    call c = begin("mkdir", name);
    if (c.what == FAIL) return refuse(&c);
    const int result = (int)syscall(SYS_mkdirat, at, path, mode);
    const int error = errno;
    if (result == 0 && c.under) record("mkdir", inode_at(at, path), name, "", 0, NULL, 0);
    errno = error;
    end(&c);
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- bytes --------------------------------------------------------------------------------------------- */

/* offset -1: where the descriptor stands. */
static ssize_t write_bytes(const char *kind, int fd, const void *data, size_t bytes, off_t offset)
{
    char path[PATH_MAX];
    opened(path, fd);
    call c = begin(kind, path);
    if (c.what == FAIL) return refuse(&c);
    char *copy = NULL;
    if (c.what == FLIP && bytes) {
        copy = malloc(bytes);
        memcpy(copy, data, bytes);
        copy[bytes / 2] ^= 4;
        data = copy;
    }
    if (c.what == HALF) bytes = (bytes + 1) / 2;
    const ssize_t n =
        offset < 0 ? syscall(SYS_write, fd, data, bytes) : syscall(SYS_pwrite64, fd, data, bytes, offset);
    const int error = errno;
    if (n > 0 && c.under)
        record("write", inode_of(fd), path, "", offset < 0 ? lseek(fd, 0, SEEK_CUR) - n : offset, data,
               (size_t)n);
    free(copy);
    errno = error;
    end(&c);
    return n;
}
ssize_t write(int fd, const void *data, size_t bytes) { return write_bytes("write", fd, data, bytes, -1); }
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    return write_bytes("pwrite", fd, data, bytes, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    return write_bytes("pwrite", fd, data, bytes, offset);
}

static int resize(int fd, off_t bytes)
{
    char path[PATH_MAX];
    opened(path, fd);
    call c = begin("ftruncate", path);
    if (c.what == FAIL) return refuse(&c);
    const int result = (int)syscall(SYS_ftruncate, fd, bytes);
    if (result == 0 && c.under) record("ftruncate", inode_of(fd), path, "", bytes, NULL, 0);
    end(&c);
    return result;
}
int ftruncate(int fd, off_t bytes) { return resize(fd, bytes); }
int ftruncate64(int fd, off_t bytes) { return resize(fd, bytes); }

static int resize_named(const char *path, off_t bytes)
{
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    const int result = resize(fd, bytes), error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return result;
}
int truncate(const char *path, off_t bytes) { return resize_named(path, bytes); }
int truncate64(const char *path, off_t bytes) { return resize_named(path, bytes); }

static int reserve(int fd, int mode, off_t offset, off_t bytes)
{
    char path[PATH_MAX];
    opened(path, fd);
    call c = begin("fallocate", path);
    if (c.what == FAIL) return refuse(&c);
    const int result = (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
    const int error = errno;
    if (result == 0 && c.under && !(mode & FALLOC_FL_KEEP_SIZE))
        record("fallocate", inode_of(fd), path, "", offset + bytes, NULL, 0);
    errno = error;
    end(&c);
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t bytes) { return reserve(fd, mode, offset, bytes); }
int fallocate64(int fd, int mode, off_t offset, off_t bytes) { return reserve(fd, mode, offset, bytes); }
int posix_fallocate(int fd, off_t offset, off_t bytes) { return reserve(fd, 0, offset, bytes) ? errno : 0; }
int posix_fallocate64(int fd, off_t offset, off_t bytes) { return posix_fallocate(fd, offset, bytes); }

static int sync_file(int fd, long number_of_call)
{
    char path[PATH_MAX];
    opened(path, fd);
    call c = begin("fsync", path);
    if (c.what == FAIL) return refuse(&c);
    const int result = (int)syscall(number_of_call, fd);
    if (result == 0 && c.under) record("fsync", inode_of(fd), path, "", 0, NULL, 0);
    end(&c);
    return result;
}
int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

/* Of files that are open for writing. */
int close(int fd)
{
    char path[PATH_MAX] = "";
    const int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY) opened(path, fd);
    call c = begin("close", path);
    const int result = (int)syscall(SYS_close, fd);
    if (c.what == FAIL) return refuse(&c);
    end(&c);
    return result;
}
