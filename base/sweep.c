/* Removes a temporary folder from a signal handler. A handler may call only what is safe in the middle of
 * anything: so it lists the folder with the system call getdents64 instead of opendir, uses no stdio, and its
 * texts are made before a signal comes. */
#include "base/sweep.h"
#include "base/file.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2, SIGXCPU};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

/* Ready before a signal comes. */
static char path[PATH_BYTES], removed[PATH_BYTES + 64], left[PATH_BYTES + 64];

/* An entry of a folder, as getdents64 fills it. */
struct entry {
    uint64_t number;
    int64_t next;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

/* Returns false when the folder cannot be read to its end. */
static bool remove_files(int folder)
{
    _Alignas(struct entry) char buffer[4096];
    for (;;) {
        const long got = syscall(SYS_getdents64, folder, buffer, sizeof buffer);
        if (got <= 0) return got == 0;
        for (long at = 0; at < got;) {
            const struct entry *e = (const struct entry *)(buffer + at);
            unlinkat(folder, e->name, 0);
            at += e->bytes;
        }
    }
}

static void say(const char *line)
{
    const ssize_t lost = write(STDERR_FILENO, line, strlen(line));
    (void)lost; /* there is no other place to report it */
}

static void sweep(int number)
{
    const int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Removing files while listing may skip others: repeat until the folder is empty. */
    for (int tries = 0; folder >= 0 && tries < 10 && rmdir(path) != 0; tries++)
        if (lseek(folder, 0, SEEK_SET) != 0 || !remove_files(folder)) break;
    if (folder >= 0) say(access(path, F_OK) != 0 ? removed : left);
    raise(number); /* with its default action (SA_RESETHAND), when we return */
}

static void set_handler(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags | SA_ONSTACK};
    sigfillset(&action.sa_mask); /* one of them sweeps */
    sigaction(number, &action, NULL);
}

void sweep_on_signal(const char *folder)
{
    if (folder) {
        snprintf(path, sizeof path, "%s", folder);
        snprintf(removed, sizeof removed, "remla: stopped by a signal; %s is removed\n", folder);
        snprintf(left, sizeof left, "remla: stopped by a signal; %s is left behind\n", folder);
    }
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction now;
        const bool ours = sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == sweep;
        if (!folder && ours) set_handler(signals[i], SIG_DFL, 0);
        if (folder && now.sa_handler == SIG_DFL) set_handler(signals[i], sweep, (int)SA_RESETHAND);
    }
}
