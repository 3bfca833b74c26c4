/* What a client's request has become: one or more requests of an engine, and what they have said so far. The
 * worker's thread puts events in, the connection's thread takes them out; neither waits for the other's work.
 */
#ifndef REMLA_SERVE_JOB_H
#define REMLA_SERVE_JOB_H
#include "generate/engine.h"
#include <stdbool.h>

/* Events with all that they point to. event[i].request is the number of the request in its job, from 0. */
typedef struct job_events {
    engine_event *event;
    int64_t count, capacity;
    text_buffer texts;
    token_chance *chance;
    int64_t chances, chances_capacity;
} job_events;
void job_events_free(job_events *e);

typedef struct job job;

/* The requests are copied, what they point to is borrowed until worker_submit returns. Their listeners are
 * the job's. */
job *job_new(const engine_request *requests, int count);
/* Only when the worker does not have it: it was never submitted, or worker_release has returned. */
void job_free(job *j);

/* Waits for events and moves them to `out`, whose old ones are gone. False: there are none and none will
 * come. */
bool job_take(job *j, job_events *out);

/* ---- the worker's side ---- */

int job_requests(const job *j);
/* Request i; its listener puts events into the job. */
const engine_request *job_request(const job *j, int i);
int64_t job_choices(const job *j); /* of all its requests */
/* Whether every choice has ended, or the job was given up. */
bool job_is_finished(job *j);
/* No request of it is taken: its listeners are deaf from now on. */
void job_give_up(job *j);
/* `seen` is told of each last event of a choice, on the worker's thread. */
void job_observe(job *j, void (*seen)(void *context, const engine_event *event), void *context);

#endif
