#include "base/stop.h"
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t received;

static void remember(int signal_number)
{
    if (received && signal_number == SIGINT) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
        return;
    }
    if (!received) received = signal_number;
}

void stop_catch(void)
{
    const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaction(signals[i], &action, NULL);
}

int stop_requested(void) { return received; }
