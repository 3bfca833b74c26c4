/* A thread that does one piece of work at a time behind the caller's back. All signals are blocked in it. */
#ifndef REMLA_BASE_WORKER_H
#define REMLA_BASE_WORKER_H
#include "base/status.h"
#include <stdbool.h>

typedef struct worker worker;

/* Starts the thread, which waits for work; or stops the job. */
worker *worker_start(void);
/* Hands over a piece of work, which may fill `why`; waits for the one before it, whose result is forgotten.
 * `context` is borrowed until worker_wait. It must not call MPI, nor anything of a device. */
void worker_give(worker *w, status (*job)(void *context, message *why), void *context);
/* Tells whether it still works. */
bool worker_busy(worker *w);
/* Waits until it does not, and returns what the last piece of work returned; OK if there was none. */
status worker_wait(worker *w, message *why);
/* Waits for the work that is under way, and ends the thread. NULL is allowed. */
void worker_stop(worker *w);

#endif
