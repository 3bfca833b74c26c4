/* OpenBLAS allocates a buffer for each thread in its constructor, and tries again forever where it gets
 * none, as under a small `ulimit -v`. The limit then looks like a hang. Functions of .preinit_array are
 * called before all constructors, so one of them can set a timer of computing time, which main stops. */
#include "base/startup.h"
#include "base/status.h"
#include <signal.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

enum { SECONDS = 2 }; /* of computing; constructors take some hundredths */

static void give_up(int signal)
{
    static const char sentence[] =
        "remla: memory is limited (ulimit -v) to less than its libraries want to start with: raise the "
        "limit, "
        "or set OMP_NUM_THREADS to less, since OpenBLAS wants more than 100 MB for each thread\n";
    (void)signal;
    if (write(STDERR_FILENO, sentence, sizeof sentence - 1) < 0) _exit(ERR_DEVICE);
    _exit(ERR_DEVICE);
}

static void watch(void)
{
    struct rlimit limit;
    const struct sigaction action = {.sa_handler = give_up};
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = SECONDS}, NULL);
}

/* The linker collects such pointers in the program itself, never in a library that it loads. */
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = watch;

void startup_done(void)
{
    setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
    signal(SIGPROF, SIG_DFL);
}
