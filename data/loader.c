/* Two slots go back and forth between the step and the thread. The step computes with `now` while the thread
 * fills `ahead`. loader_next waits for the thread, swaps the two, and requests the next position:
 *
 *              loader_next(1)            loader_next(2)            loader_next(3)
 *     step     |  computes with slot 0   |  computes with slot 1   |  computes with slot 0
 *     thread   |  reads 2 into slot 1    |  reads 3 into slot 0    |  reads 4 into slot 1
 *
 * The flag `reading` says who has `ahead`: the thread from the request until it clears the flag, the caller
 * otherwise. The lock protects the flags alone, so the slow part, reading, runs without it, and nothing is
 * copied.
 *
 * A request is a guess of the position that comes next. When another one is needed (the first step after
 * resuming, say), loader_next requests that one, into the same slot, and waits. A read that fails leaves its
 * status and sentence in the slot. They are returned only when its position is needed: bad data ahead does
 * not stop a run that ends before it. */
#include "data/loader.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A batch and the result of reading it. */
typedef struct slot {
    token_batch batch;
    int64_t position; /* -1: none was requested */
    status result;
    message why;
} slot;

struct loader {
    loader_read read;
    const void *context;
    pthread_t thread;
    pthread_mutex_t lock;   /* protects reading and stopping */
    pthread_cond_t changed; /* one of the two has changed */
    bool reading;           /* the thread has `ahead`; otherwise the caller has it */
    bool stopping;
    double limit;      /* seconds that the caller waits; 0: forever */
    bool alone, said;  /* beyond it, it warns, and has done so */
    slot *now, *ahead; /* the caller computes with one, the other is filled */
    slot slots[2];
};

static void slot_read(const loader *l, slot *s)
{
    s->result = l->read(l->context, &s->batch, s->position, &s->why);
}

static void *run(void *context)
{
    loader *l = context;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->reading && !l->stopping) pthread_cond_wait(&l->changed, &l->lock);
        if (l->stopping) break;
        slot *s = l->ahead;
        pthread_mutex_unlock(&l->lock);
        slot_read(l, s);
        pthread_mutex_lock(&l->lock);
        l->reading = false;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void read_ahead(loader *l, int64_t position)
{
    pthread_mutex_lock(&l->lock);
    l->ahead->position = position;
    l->reading = position >= 0;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

loader *loader_start(loader_read read, const void *context, int64_t sequences, int64_t T, int64_t first)
{
    loader *l = memory_new(1, sizeof *l, "a loader");
    l->read = read;
    l->context = context;
    for (int i = 0; i < 2; i++) {
        token_batch_init(&l->slots[i].batch, sequences, T);
        l->slots[i].position = -1;
    }
    l->now = &l->slots[0];
    l->ahead = &l->slots[1];
    pthread_mutex_init(&l->lock, NULL);
    thread_condition_init(&l->changed);
    const int error = thread_start(&l->thread, run, l);
    if (error) die(ERR_DEVICE, "no thread to load data: %s", strerror(error));
    read_ahead(l, first);
    return l;
}

void loader_stop(loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->changed);
    for (int i = 0; i < 2; i++) token_batch_free(&l->slots[i].batch);
    free(l);
}

void loader_limit(loader *l, double seconds, bool alone)
{
    l->limit = seconds;
    l->alone = alone;
}

static void too_long(loader *l)
{
    static const char text[] =
        "samples have not been read within %.0f s: the disk of the training data hangs";
    if (!l->alone) die(ERR_DEVICE, text, l->limit);
    if (!l->said) log_warning(text, l->limit);
    l->said = true;
}

/* Waits in short naps. One that took long is of a process that was stopped. */
static void wait_for_thread(loader *l)
{
    const double NAP = 0.5;
    double waited = 0;
    pthread_mutex_lock(&l->lock);
    while (l->reading) {
        const double before = clock_seconds();
        thread_condition_wait(&l->changed, &l->lock, NAP);
        waited += fmin(clock_seconds() - before, 2 * NAP);
        if (l->reading && l->limit > 0 && waited >= l->limit) too_long(l);
    }
    l->said = false;
    pthread_mutex_unlock(&l->lock);
}

status loader_next(loader *l, int64_t position, int64_t next, const token_batch **batch, double *waited,
                   message *why)
{
    const double start = clock_seconds();
    wait_for_thread(l);
    if (l->ahead->position != position) { /* the first step, and one after a jump */
        read_ahead(l, position);
        wait_for_thread(l);
    }
    slot *s = l->ahead;
    l->ahead = l->now;
    l->now = s;
    *waited += clock_seconds() - start;
    read_ahead(l, s->result == OK ? next : -1);
    *batch = &s->batch;
    if (s->result != OK) *why = s->why;
    return s->result;
}
