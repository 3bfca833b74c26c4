/* The list of connections under one lock, and the thread that walks it every tick. The lock is held
 * while it acts, so that no socket is closed, and its number given to another file, meanwhile. */
#include "serve/watch.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"
#include "serve/tick.h"
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

struct watched {
    watch *in;
    watched *next, **link; /* *link points here */
    int fd;
    double deadline; /* 0: none */
    void (*gone)(void *state);
    void *state;
};

struct watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping;
    watched *first;
};

static bool has_vanished(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}

static void look_at(watched *c, double now)
{
    if (c->deadline > 0 && now > c->deadline) {
        shutdown(c->fd, SHUT_RDWR); /* its thread sees that, and closes it */
        c->deadline = 0;
    }
    if (c->gone && has_vanished(c->fd)) {
        c->gone(c->state);
        c->gone = NULL;
    }
}

static void *walk(void *argument)
{
    watch *w = argument;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        const double now = clock_seconds();
        for (watched *c = w->first; c; c = c->next) look_at(c, now);
        tick_wait(&w->stop, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

watch *watch_start(void)
{
    watch *w = memory_new(1, sizeof *w, "the list of connections");
    thread_condition_init(&w->stop);
    pthread_mutex_init(&w->lock, NULL);
    if (pthread_create(&w->thread, NULL, walk, w)) memory_failed("a thread that watches connections");
    return w;
}

void watch_stop(watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    REQUIRE(!w->first, "a connection is still being watched");
    pthread_cond_signal(&w->stop);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->stop);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

watched *watch_add(watch *w, int fd)
{
    watched *c = memory_new(1, sizeof *c, "a connection");
    c->in = w, c->fd = fd;
    pthread_mutex_lock(&w->lock);
    c->next = w->first, c->link = &w->first;
    if (c->next) c->next->link = &c->next;
    w->first = c;
    pthread_mutex_unlock(&w->lock);
    return c;
}

void watch_remove(watched *c)
{
    watch *w = c->in;
    pthread_mutex_lock(&w->lock);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    pthread_mutex_unlock(&w->lock);
    free(c);
}

void watch_limit(watched *c, double seconds)
{
    pthread_mutex_lock(&c->in->lock);
    c->deadline = seconds > 0 ? clock_seconds() + seconds : 0;
    pthread_mutex_unlock(&c->in->lock);
}

void watch_gone(watched *c, void (*gone)(void *state), void *state)
{
    pthread_mutex_lock(&c->in->lock);
    c->gone = gone, c->state = state;
    pthread_mutex_unlock(&c->in->lock);
}
