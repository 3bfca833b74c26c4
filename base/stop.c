/* The handler only remembers: what must happen at a stop (a checkpoint) cannot be done in a handler. */
#include "base/stop.h"
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t first;

static void remember(int signal_number)
{
    if (!first) first = signal_number;
}

void stop_catch(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        /* SIGINT is caught once: a person who presses the keys again wants to be rid of us. */
        struct sigaction action = {.sa_handler = remember,
                                   .sa_flags = SA_RESTART | (signals[i] == SIGINT ? (int)SA_RESETHAND : 0)};
        sigemptyset(&action.sa_mask);
        sigaction(signals[i], &action, NULL);
    }
}

int stop_requested(void) { return first; }
