/* The thread sleeps until it is to watch, and then looks twice a second. It asks for its own naps how long it
 * was stopped itself: those seconds do not count either. */
#include "train/watchdog.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double NAP = 0.5;

struct watchdog {
    const comm *c;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool watching, said, ends;
    double warn, end, waited; /* for others, when it began */
    double stuck;             /* seconds so far */
    double answered;          /* when a file's writer had its last answer before */
    char advice[512];
};

/* The clock begins anew with every answer that a writer of files gets. */
static void begin(watchdog *w)
{
    w->stuck = 0;
    w->waited = comm_seconds_waited(w->c);
    w->answered = file_answered();
}

static void look(watchdog *w)
{
    if (file_answered() > w->answered) begin(w);
    const double own = w->stuck - (comm_seconds_waited(w->c) - w->waited);
    if (own >= w->end) die(UNSAVED, "the disk has not answered for %.0f s; %s", own, w->advice);
    if (own < w->warn || w->said) return;
    w->said = true;
    fprintf(stderr, "remla: warning: rank %d on %s: the disk has not answered for %.0f s\n", w->c->rank,
            comm_host(w->c, w->c->rank), own);
}

static void *run(void *context)
{
    watchdog *const w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->ends) {
        if (!w->watching) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        const double before = clock_seconds();
        thread_condition_wait(&w->changed, &w->lock, NAP);
        w->stuck += fmin(clock_seconds() - before, 2 * NAP);
        if (w->watching) look(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

watchdog *watchdog_start(const comm *c)
{
    watchdog *const w = memory_new(1, sizeof *w, "a watchdog");
    w->c = c;
    pthread_mutex_init(&w->lock, NULL);
    thread_condition_init(&w->changed);
    const int error = thread_start(&w->thread, run, w);
    if (error) die(ERR_DEVICE, "a thread cannot be started: %s", strerror(error));
    return w;
}

static void change(watchdog *w, bool watching, bool ends)
{
    w->watching = watching;
    w->ends = ends;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void watchdog_watch(watchdog *w, double warn, double end, const char *advice)
{
    pthread_mutex_lock(&w->lock);
    w->said = false;
    w->warn = warn;
    w->end = end;
    begin(w);
    snprintf(w->advice, sizeof w->advice, "%s", advice);
    change(w, true, false);
}

void watchdog_rest(watchdog *w)
{
    pthread_mutex_lock(&w->lock);
    change(w, false, false);
}

void watchdog_stop(watchdog *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    change(w, false, true);
    pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
}
