/* A client's request as one or more requests of an engine, with the events that they have had so far. The
 * worker's thread puts events in, and the connection's thread takes them out. Neither waits for the other's
 * work. */
#ifndef REMLA_SERVE_GENERATION_H
#define REMLA_SERVE_GENERATION_H
#include "generate/engine.h"
#include <stdbool.h>

/* Events with all that they point to. event[i].request is the number of the request in its generation, from
 * 0. */
typedef struct generation_events {
    engine_event *event;
    int64_t count, capacity;
    text_buffer texts;
    token_chance *chance;
    int64_t chances, chances_capacity;
} generation_events;
void generation_events_free(generation_events *e);

typedef struct generation generation;

/* The requests are copied, what they point to is borrowed until worker_submit returns. Their listeners are
 * the generation's. */
generation *generation_new(const engine_request *requests, int count);
/* Only when the worker does not have it: it was never submitted, or worker_release has returned. */
void generation_free(generation *j);

/* Waits for events and moves them to `out`, whose old ones are gone. False: there are none and none will
 * come. */
bool generation_take(generation *j, generation_events *out);

/* Why the worker has ended it before its time; NULL: it has not. */
const char *generation_expired(generation *j);

/* ---- the worker's side ---- */

int generation_requests(const generation *j);
/* Request i; its listener puts events into the generation. */
const engine_request *generation_request(const generation *j, int i);
int64_t generation_choices(const generation *j); /* of all its requests */
/* Returns whether every choice has ended, or the generation was given up. */
bool generation_is_finished(generation *j);
/* No request of it is taken: its listeners are deaf from now on. */
void generation_give_up(generation *j);
/* Says why it will be cancelled: a sentence that stays. */
void generation_expire(generation *j, const char *sentence);
/* `seen` is told of each last event of a choice, on the worker's thread. */
void generation_observe(generation *j, void (*seen)(void *context, const engine_event *event), void *context);

#endif
