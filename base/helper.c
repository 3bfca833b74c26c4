/* One lock, one condition: whoever hands over, waits, works or ends looks at the same few fields. */
#include "base/helper.h"
#include "base/memory.h"
#include "base/thread.h"
#include <stdlib.h>
#include <string.h>

struct helper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    status (*job)(void *context, message *why); /* NULL: there is nothing to do */
    void *context;
    status result; /* of the last job */
    message why;
    bool ends;
};

static void *work(void *context)
{
    helper *const w = context;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->job && !w->ends) pthread_cond_wait(&w->changed, &w->lock);
        if (!w->job) break;
        pthread_mutex_unlock(&w->lock);
        message why = {""};
        const status result = w->job(w->context, &why);
        pthread_mutex_lock(&w->lock);
        w->result = result;
        w->why = why;
        w->job = NULL;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

helper *helper_start(void)
{
    helper *const w = memory_new(1, sizeof *w, "a helper");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    const int error = thread_start(&w->thread, work, w);
    if (error) die(ERR_DEVICE, "a thread cannot be started: %s", strerror(error));
    return w;
}

void helper_run(helper *w, status (*job)(void *context, message *why), void *context)
{
    pthread_mutex_lock(&w->lock);
    while (w->job) pthread_cond_wait(&w->changed, &w->lock);
    w->job = job;
    w->context = context;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

bool helper_busy(helper *w)
{
    pthread_mutex_lock(&w->lock);
    const bool busy = w->job;
    pthread_mutex_unlock(&w->lock);
    return busy;
}

status helper_wait(helper *w, message *why)
{
    pthread_mutex_lock(&w->lock);
    while (w->job) pthread_cond_wait(&w->changed, &w->lock);
    const status result = w->result;
    if (result != OK) *why = w->why;
    pthread_mutex_unlock(&w->lock);
    return result;
}

void helper_stop(helper *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->ends = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
