/* Generations are in a list from worker_submit to the moment when the worker has forgotten them; a
 * generation's state says where it is. Everything here is under the worker's lock, but for the engines, which
 * its thread alone touches. */
#include "serve/worker.h"
#include "base/clock.h"
#include "base/memory.h"
#include "serve/tick.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef enum entry_state { SUBMITTED, RUNNING, REFUSED } entry_state;

/* A generation that the worker has. */
typedef struct entry {
    struct entry *next;
    generation *work;
    int model;
    entry_state state;
    double since;  /* when it was submitted */
    bool cancel;   /* wanted */
    uint64_t *id;  /* of its requests */
    status result; /* of REFUSED */
    message why;
} entry;

struct worker {
    engine *engine[WORKER_ENGINES];
    engine_statistics statistics[WORKER_ENGINES];
    int64_t outstanding[WORKER_ENGINES]; /* choices */
    int engines;
    worker_limits limits;
    void (*observe)(void *context, const engine_event *event);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the worker: there is something new */
    pthread_cond_t settled; /* the others: an entry has another state, or is gone */
    entry *first, **last;
    bool stopping;
    bool news; /* something was submitted or is to be cancelled */
};

worker *worker_new(engine *const *engines, int count, const worker_limits *limits,
                   void (*observe)(void *context, const engine_event *event), void *context)
{
    REQUIRE(count >= 1 && count <= WORKER_ENGINES, "%d engines", count);
    worker *w = memory_new(1, sizeof *w, "a worker");
    for (int i = 0; i < count; i++) {
        w->engine[i] = engines[i];
        w->statistics[i] = engine_statistics_now(engines[i]);
    }
    w->engines = count, w->limits = *limits;
    w->observe = observe, w->context = context;
    w->last = &w->first;
    thread_condition_init(&w->wake);
    pthread_cond_init(&w->settled, NULL);
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void worker_free(worker *w)
{
    REQUIRE(!w->first, "a generation has not been released");
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->settled);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- the list ------------------------------------------------------------------------------------------ */

/* Returns where the list has the entry of a generation; *result is NULL when it has none. */
static entry **find(worker *w, const generation *j)
{
    entry **link = &w->first;
    while (*link && (*link)->work != j) link = &(*link)->next;
    return link;
}

/* Removes the entry at *link, whose choices are no longer outstanding. */
static void forget(worker *w, entry **link)
{
    entry *gone = *link;
    w->outstanding[gone->model] -= generation_choices(gone->work);
    *link = gone->next;
    if (!gone->next) w->last = link;
    free(gone->id);
    free(gone);
}

/* ---- the worker's thread ------------------------------------------------------------------------------- */

/* Gives all requests of a generation to its engine, or none. Without the lock: engine_submit may take a
 * moment, and engine_cancel calls listeners. */
static status take(worker *w, entry *e)
{
    engine *to = w->engine[e->model];
    for (int i = 0; i < generation_requests(e->work); i++) {
        const status s = engine_submit(to, generation_request(e->work, i), &e->id[i], &e->why);
        if (s == OK) continue;
        generation_give_up(e->work);
        while (i--) engine_cancel(to, e->id[i]);
        return s;
    }
    return OK;
}

static void take_new(worker *w)
{
    for (entry *e = w->first; e; e = e->next) {
        if (e->state != SUBMITTED) continue;
        pthread_mutex_unlock(&w->lock); /* entries are added at the end, and removed by this thread */
        e->result = take(w, e);
        pthread_mutex_lock(&w->lock);
        e->state = e->result == OK ? RUNNING : REFUSED;
        pthread_cond_broadcast(&w->settled);
    }
}

static bool has_started(const worker *w, const entry *e)
{
    for (int i = 0; i < generation_requests(e->work); i++)
        if (!engine_waits(w->engine[e->model], e->id[i])) return true;
    return false;
}

/* Finds those that have waited, or taken, too long. */
static void cancel_late(worker *w)
{
    const double now = clock_seconds();
    for (entry *e = w->first; e; e = e->next) {
        if (e->cancel || e->state != RUNNING) continue;
        const char *sentence = NULL;
        if (now - e->since > w->limits.duration)
            sentence = "the request took longer than this server works on one (serve.duration)";
        else if (now - e->since > w->limits.patience && !has_started(w, e))
            sentence = "the server is busy: the request has waited for as long as it may (serve.patience)";
        if (!sentence) continue;
        generation_expire(e->work, sentence);
        e->cancel = true;
    }
}

static void cancel_wanted(worker *w)
{
    for (entry *e = w->first; e; e = e->next) {
        if (!e->cancel || e->state != RUNNING) continue;
        pthread_mutex_unlock(&w->lock);
        for (int i = 0; i < generation_requests(e->work); i++) engine_cancel(w->engine[e->model], e->id[i]);
        pthread_mutex_lock(&w->lock);
    }
}

static void forget_finished(worker *w)
{
    bool some = false;
    for (entry **link = &w->first; *link;) {
        entry *e = *link;
        if (e->state == RUNNING && generation_is_finished(e->work)) {
            forget(w, link);
            some = true;
        } else
            link = &e->next;
    }
    if (some) pthread_cond_broadcast(&w->settled);
}

static bool any_busy(const worker *w)
{
    for (int i = 0; i < w->engines; i++)
        if (engine_busy(w->engine[i])) return true;
    return false;
}

static void step(worker *w)
{
    for (int i = 0; i < w->engines; i++) {
        if (engine_busy(w->engine[i])) engine_step(w->engine[i]);
        const engine_statistics now = engine_statistics_now(w->engine[i]);
        pthread_mutex_lock(&w->lock);
        w->statistics[i] = now;
        pthread_mutex_unlock(&w->lock);
    }
}

int64_t worker_run(worker *w, int (*stop)(void), double grace)
{
    double deadline = 0;
    int64_t cancelled = 0;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping || w->first) {
        /* Until there is something to do, or it is time to ask whether to stop. */
        if (!any_busy(w) && !w->news) tick_wait(&w->wake, &w->lock);
        w->news = false;
        if (!w->stopping && stop()) {
            w->stopping = true;
            deadline = clock_seconds() + grace;
        }
        const bool late = w->stopping && clock_seconds() >= deadline;
        for (entry *e = w->first; late && e; e = e->next) {
            cancelled += !e->cancel;
            e->cancel = true;
        }
        take_new(w);
        cancel_late(w);
        cancel_wanted(w);
        pthread_mutex_unlock(&w->lock);
        step(w);
        pthread_mutex_lock(&w->lock);
        forget_finished(w);
    }
    pthread_mutex_unlock(&w->lock);
    return cancelled;
}

/* ---- the connections' threads -------------------------------------------------------------------------- */

static status check_room(const worker *w, int which, int64_t choices, message *why)
{
    if (w->stopping) return fail(why, STOPPED, "the server is stopping and takes no new requests");
    if (choices > w->limits.capacity)
        return fail(why, ERR_USAGE, "the request asks for %lld texts at once; this server takes %lld",
                    (long long)choices, (long long)w->limits.capacity);
    if (w->outstanding[which] + choices > w->limits.capacity)
        return fail(why, ERR_DEVICE,
                    "the server is busy: %lld texts are running or waiting, of %lld that it takes",
                    (long long)w->outstanding[which], (long long)w->limits.capacity);
    return OK;
}

status worker_submit(worker *w, int which, generation *j, message *why)
{
    const int64_t choices = generation_choices(j);
    pthread_mutex_lock(&w->lock);
    status s = check_room(w, which, choices, why);
    if (s != OK) {
        pthread_mutex_unlock(&w->lock);
        return s;
    }
    generation_observe(j, w->observe, w->context);
    entry *e = memory_new(1, sizeof *e, "a generation"), **link;
    *e = (entry){.work = j,
                 .model = which,
                 .since = clock_seconds(),
                 .id = memory_new(generation_requests(j), sizeof *e->id, "a generation")};
    *w->last = e, w->last = &e->next;
    w->outstanding[which] += choices;
    w->news = true;
    pthread_cond_signal(&w->wake);
    /* A generation that was taken may be over, and its entry gone, before this thread wakes up. */
    while (*(link = find(w, j)) && (*link)->state == SUBMITTED) pthread_cond_wait(&w->settled, &w->lock);
    e = *link;
    if (e && e->state == REFUSED) {
        s = e->result, *why = e->why;
        forget(w, link);
    }
    pthread_mutex_unlock(&w->lock);
    return s;
}

void worker_cancel(worker *w, generation *j)
{
    pthread_mutex_lock(&w->lock);
    entry *e = *find(w, j);
    if (e) e->cancel = w->news = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void worker_release(worker *w, generation *j)
{
    worker_cancel(w, j);
    pthread_mutex_lock(&w->lock);
    while (*find(w, j)) pthread_cond_wait(&w->settled, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

bool worker_is_stopping(worker *w)
{
    pthread_mutex_lock(&w->lock);
    const bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

engine_statistics worker_statistics(worker *w, int which)
{
    pthread_mutex_lock(&w->lock);
    const engine_statistics s = w->statistics[which];
    pthread_mutex_unlock(&w->lock);
    return s;
}
