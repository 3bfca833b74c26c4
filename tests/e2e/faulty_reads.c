/* Preloaded by failures.sh: a disk that hangs, or fails. As soon as the file FAULT_FILE exists, pread of a
 * file of which the name ends in
 * ".ds" never returns, or has errno EIO where FAULT_FILE is not empty. */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_shard(int fd)
{
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, name, sizeof name);
    return n > 3 && !memcmp(name + n - 3, ".ds", 3);
}

static ssize_t read_at(int fd, void *bytes, size_t count, off_t offset)
{
    static ssize_t (*next)(int, void *, size_t, off_t);
    struct stat fault;
    const char *path = getenv("FAULT_FILE");
    if (path && is_shard(fd) && stat(path, &fault) == 0) {
        while (!fault.st_size) pause();
        errno = EIO;
        return -1;
    }
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "pread64");
    return next(fd, bytes, count, offset);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t offset) { return read_at(fd, bytes, count, offset); }
ssize_t pread64(int fd, void *bytes, size_t count, off_t offset) { return read_at(fd, bytes, count, offset); }
