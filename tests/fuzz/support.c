/* Files for fuzz targets that need one: in memory (/dev/shm), and removed when the program ends. */
#include "tests/fuzz/fuzz.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 8, NAME = 64 };
static char folder[64];
static char names[FILES][NAME]; /* that were written, to be removed at the end */

static void stop(const char *what)
{
    perror(what);
    abort();
}

static const char *path_of(const char *name)
{
    static char path[FILES][128];
    static int turn;
    char *out = path[turn++ % FILES];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void remove_all(void)
{
    for (int i = 0; i < FILES && names[i][0]; i++) unlink(path_of(names[i]));
    rmdir(folder);
}

static void remember(const char *name)
{
    int i = 0;
    while (i < FILES && names[i][0] && strcmp(names[i], name) != 0) i++;
    if (i == FILES) stop("too many files");
    snprintf(names[i], NAME, "%s", name);
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    if (!folder[0]) {
        strcpy(folder, "/dev/shm/remla-fuzz-XXXXXX");
        if (!mkdtemp(folder)) stop(folder);
        atexit(remove_all);
    }
    remember(name);
    const char *path = path_of(name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) stop(path);
    close(fd);
    return path;
}

void fuzz_remove(const char *name) { unlink(path_of(name)); }
