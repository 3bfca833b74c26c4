/* Stops by signal. The handler only remembers the signal and prints a line; the work of a stop (writing a
 * checkpoint) cannot be done in a handler, so the training loop asks stop_requested between steps. */
#include "base/stop.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t first;
/* volatile: read once by the handler, which may run on any thread while another one changes them. */
static const char *volatile announcement, *volatile parents_announcement;
static pid_t parent;

/* One write, so that lines do not mix. stdio's functions may not be called in a handler. */
static void announce(int number, const char *text)
{
    char line[400] = "remla: signal ";
    size_t n = strlen(line);
    if (number >= 10) line[n++] = (char)('0' + number / 10);
    line[n++] = (char)('0' + number % 10);
    line[n++] = ':';
    line[n++] = ' ';
    while (*text && n < sizeof line - 1) line[n++] = *text++;
    line[n++] = '\n';
    const ssize_t lost = write(STDERR_FILENO, line, n);
    (void)lost; /* there is no other place to report it */
}

static void remember(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (first) return;
    const int error = errno;
    first = number;
    const char *text = number == SIGTERM && info->si_pid == parent ? parents_announcement : NULL;
    if (!text) text = announcement;
    if (text) announce(number, text);
    errno = error;
}

static bool is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void stop_catch(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU};
    parent = getppid();
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (signals[i] == SIGHUP && is_ignored(SIGHUP)) continue;
        /* SIGINT is caught once: a second Ctrl-C kills the process. */
        struct sigaction action = {.sa_sigaction = remember,
                                   .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK |
                                               (signals[i] == SIGINT ? (int)SA_RESETHAND : 0)};
        sigemptyset(&action.sa_mask);
        sigaction(signals[i], &action, NULL);
    }
}

void stop_announce(const char *text, const char *from_parent)
{
    parents_announcement = from_parent;
    announcement = text;
}

int stop_requested(void) { return first; }
