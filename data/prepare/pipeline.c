/* The pipeline is a ring of items between one reader, many workers and one writer:
 *
 *     item   written        read
 *            v              v
 *     | 5 ok | 6 work | 7 ok | 8 work | free ...        slots: item n is in slot n % items
 *       ^ is written next; 7 waits for 6, so that the order of reading is kept
 *
 * There are no threads of special roles. Each thread loops: read the next item (one at a time), work on it,
 * mark it done, and then write whatever is done and next in order (one at a time). A thread that finds
 * another one writing leaves its item to it. All state is guarded by one lock, which is released during read,
 * work and write. Reading waits while the ring is full or its items take too many bytes. */
#include "data/prepare/pipeline.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>

/* An item on its way. */
typedef struct slot {
    bool done; /* worked on, and not written */
    int64_t bytes;
    status result;
    message why;
} slot;

/* Item n of the stream is in slot n % items. All of this is guarded by `lock`. */
typedef struct line {
    const pipeline *p;
    slot *slot;
    int64_t read, written; /* items */
    int64_t bytes;         /* of the items between */
    bool reading, writing; /* a thread is at it */
    bool over;             /* nothing more is read */
    status result;         /* of the first item that failed */
    message *why;
    pthread_mutex_t lock;
    pthread_cond_t moved;
} line;

static bool may_read(const line *l)
{
    if (l->reading || l->read - l->written == l->p->items) return false;
    return l->bytes <= l->p->bytes || l->read == l->written;
}

/* Returns the next item, or NULL at the end. Called and left with the lock held. */
static slot *next(line *l, void **item)
{
    while (!l->over && !may_read(l)) pthread_cond_wait(&l->moved, &l->lock);
    if (l->over) return NULL;
    const int at = (int)(l->read % l->p->items);
    slot *s = &l->slot[at];
    bool ended = false;
    *item = l->p->item[at];
    *s = (slot){0};
    l->reading = true;
    pthread_mutex_unlock(&l->lock);
    s->result = l->p->read(l->p->context, *item, &s->bytes, &ended, &s->why);
    pthread_mutex_lock(&l->lock);
    l->reading = false;
    /* After a failure nothing more is read, but the items before it are still written. */
    if (ended || s->result != OK) l->over = true;
    if (!ended) l->read++;
    l->bytes += s->bytes;
    pthread_cond_broadcast(&l->moved);
    return ended ? NULL : s;
}

/* Writes the items that are done and next in order. If another thread is writing, that thread will do it. */
static void write_ready(line *l)
{
    if (l->writing) return;
    l->writing = true;
    for (;;) {
        const int at = (int)(l->written % l->p->items);
        slot *s = &l->slot[at];
        if (l->result != OK || l->written == l->read || !s->done) break;
        if (s->result == OK) {
            pthread_mutex_unlock(&l->lock);
            s->result = l->p->write(l->p->context, l->p->item[at], &s->why);
            pthread_mutex_lock(&l->lock);
        }
        l->result = s->result;
        if (s->result != OK) {
            *l->why = s->why;
            l->over = true;
        }
        s->done = false;
        l->bytes -= s->bytes;
        l->written++;
        pthread_cond_broadcast(&l->moved);
    }
    l->writing = false;
}

typedef struct worker {
    line *line;
    int thread;
    pthread_t id;
    bool started;
} worker;

static void *run(void *argument)
{
    const worker *w = argument;
    line *l = w->line;
    void *item;
    pthread_mutex_lock(&l->lock);
    for (slot *s; (s = next(l, &item));) {
        pthread_mutex_unlock(&l->lock);
        if (s->result == OK) s->result = l->p->work(l->p->context, w->thread, item, &s->why);
        pthread_mutex_lock(&l->lock);
        s->done = true;
        write_ready(l);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

status pipeline_run(const pipeline *p, message *why)
{
    REQUIRE(p->items > 0 && p->threads > 0, "%d items, %d threads", p->items, p->threads);
    line l = {.p = p, .why = why, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    l.slot = memory_new(p->items, sizeof *l.slot, "items of a pipeline");
    worker *w = memory_new(p->threads, sizeof *w, "threads of a pipeline");
    for (int i = 0; i < p->threads; i++) w[i] = (worker){.line = &l, .thread = i};
    /* The caller is the first thread; with fewer than requested the work only takes longer. */
    for (int i = 1; i < p->threads; i++) w[i].started = pthread_create(&w[i].id, NULL, run, &w[i]) == 0;
    run(&w[0]);
    for (int i = 1; i < p->threads; i++)
        if (w[i].started) pthread_join(w[i].id, NULL);
    free(w);
    free(l.slot);
    return l.result;
}
