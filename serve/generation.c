/* Two sets of events: one being filled by the worker, one that the connection's thread reads. generation_take
 * exchanges them, so the lock is held for moments only. */
#include "serve/generation.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The context of one request's listener. */
typedef struct listener {
    generation *to;
    int number; /* of the request in its generation */
} listener;

struct generation {
    engine_request *request;
    listener *listener;
    int requests;
    void (*seen)(void *context, const engine_event *event);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t left; /* choices that have not ended */
    bool given_up;
    const char *expired;
    generation_events filling;
};

/* Where event i's texts and chances begin in the buffers is kept in the pointers themselves until the events
 * are taken: the buffers move while they grow. */
static void add(generation_events *all, const engine_event *e, int number)
{
    all->event = array_reserve(all->event, &all->capacity, all->count + 1, sizeof *all->event);
    all->chance =
        array_reserve(all->chance, &all->chances_capacity, all->chances + e->tops, sizeof *all->chance);
    engine_event *copy = &all->event[all->count++];
    *copy = *e;
    copy->request = (uint64_t)number;
    text_buffer_append(&all->texts, e->piece, e->piece_bytes);
    text_buffer_append(&all->texts, e->text, e->text_bytes);
    if (e->tops) memcpy(all->chance + all->chances, e->top, (size_t)e->tops * sizeof *e->top);
    all->chances += e->tops;
}

static void point(generation_events *all)
{
    const char *text = all->texts.text;
    const token_chance *chance = all->chance;
    for (int64_t i = 0; i < all->count; i++) {
        engine_event *e = &all->event[i];
        e->piece = text, text += e->piece_bytes;
        e->text = text, text += e->text_bytes;
        e->top = chance, chance += e->tops;
    }
}

void generation_events_free(generation_events *e)
{
    free(e->event);
    free(e->chance);
    text_buffer_free(&e->texts);
    *e = (generation_events){0};
}

static void listen(void *context, const engine_event *event)
{
    const listener *l = context;
    generation *j = l->to;
    if (j->given_up) return; /* set by this thread */
    if (event->kind == EVENT_FINISHED && j->seen) j->seen(j->context, event);
    pthread_mutex_lock(&j->lock);
    add(&j->filling, event, l->number);
    j->left -= event->kind == EVENT_FINISHED;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

generation *generation_new(const engine_request *requests, int count)
{
    generation *j = memory_new(1, sizeof *j, "a request");
    j->request = memory_new(count, sizeof *j->request, "a request");
    j->listener = memory_new(count, sizeof *j->listener, "a request");
    j->requests = count;
    for (int i = 0; i < count; i++) {
        j->listener[i] = (listener){j, i};
        j->request[i] = requests[i];
        j->request[i].listen = listen;
        j->request[i].context = &j->listener[i];
        j->left += requests[i].choices;
    }
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->changed, NULL);
    return j;
}

void generation_free(generation *j)
{
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
    generation_events_free(&j->filling);
    free(j->request);
    free(j->listener);
    free(j);
}

bool generation_take(generation *j, generation_events *out)
{
    pthread_mutex_lock(&j->lock);
    while (!j->filling.count && j->left && !j->given_up) pthread_cond_wait(&j->changed, &j->lock);
    const generation_events taken = j->filling;
    out->count = out->chances = out->texts.bytes = 0;
    j->filling = *out;
    *out = taken;
    pthread_mutex_unlock(&j->lock);
    point(out);
    return out->count > 0;
}

int generation_requests(const generation *j) { return j->requests; }
const engine_request *generation_request(const generation *j, int i) { return &j->request[i]; }

int64_t generation_choices(const generation *j)
{
    int64_t sum = 0;
    for (int i = 0; i < j->requests; i++) sum += j->request[i].choices;
    return sum;
}

bool generation_is_finished(generation *j)
{
    pthread_mutex_lock(&j->lock);
    const bool finished = !j->left || j->given_up;
    pthread_mutex_unlock(&j->lock);
    return finished;
}

void generation_give_up(generation *j)
{
    pthread_mutex_lock(&j->lock);
    j->given_up = true;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

void generation_expire(generation *j, const char *sentence)
{
    pthread_mutex_lock(&j->lock);
    j->expired = sentence;
    pthread_mutex_unlock(&j->lock);
}

const char *generation_expired(generation *j)
{
    pthread_mutex_lock(&j->lock);
    const char *sentence = j->expired;
    pthread_mutex_unlock(&j->lock);
    return sentence;
}

void generation_observe(generation *j, void (*seen)(void *context, const engine_event *event), void *context)
{
    j->seen = seen, j->context = context;
}
