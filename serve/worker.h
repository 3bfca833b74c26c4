/* The one thread that computes. It owns the engines (one for each model that is served) and runs them in
 * turns, a pass each, so that two models share the machine instead of fighting for it. Connections' threads
 * hand generations in and wait for their events. */
#ifndef REMLA_SERVE_WORKER_H
#define REMLA_SERVE_WORKER_H
#include "serve/generation.h"

enum { WORKER_ENGINES = 2 };

typedef struct worker worker;

typedef struct worker_limits {
    int64_t capacity; /* choices (texts to generate) that an engine is given at once, running and waiting */
    double patience;  /* seconds in which one of a generation's requests must start */
    double duration;  /* seconds in which a generation must end */
} worker_limits;

/* Borrows the engines, which nobody else may touch from worker_run on; their queues must have room for
 * limits->capacity. observe (NULL: none) is told, on the worker's thread, of every choice that ends. */
worker *worker_new(engine *const *engines, int count, const worker_limits *limits,
                   void (*observe)(void *context, const engine_event *event), void *context);
void worker_free(worker *w); /* when all generations are released */

/* Generations that take too long are cancelled, and generation_expired says so.
 * Works on the calling thread until `stop` returns something else than 0, which it asks between passes. From
 * then on no generation is taken; those that run may go on for `grace` seconds, then they are cancelled.
 * Returns how many were. */
int64_t worker_run(worker *w, int (*stop)(void), double grace);

/* Hands a generation to engine number `which`; waits until it is in its queue (at most for a pass).
 *   ERR_USAGE   it can never be done: the sentence says why
 *   ERR_DEVICE  there is no room now
 *   STOPPED     the server is stopping
 * On success the caller ends with worker_release, and only then generation_free. */
status worker_submit(worker *w, int which, generation *j, message *why);
/* Asks for the end of a generation, from any thread. */
void worker_cancel(worker *w, generation *j);
/* Cancels the generation if it is not over, and waits until the worker has forgotten it. */
void worker_release(worker *w, generation *j);

bool worker_is_stopping(worker *w);
/* Returns an engine's statistics, as of its last pass. */
engine_statistics worker_statistics(worker *w, int which);

#endif
