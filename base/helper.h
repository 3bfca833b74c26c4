/* A thread that does one piece of work at a time behind the caller's back. All signals are blocked in it. */
#ifndef REMLA_BASE_HELPER_H
#define REMLA_BASE_HELPER_H
#include "base/status.h"
#include <stdbool.h>

typedef struct helper helper;

/* Starts the thread, which waits for work; or stops the job. */
helper *helper_start(void);
/* Hands over a piece of work, which may fill `why`; waits for the one before it, whose result is forgotten.
 * `context` is borrowed until helper_wait. It must not call MPI, nor anything of a device. */
void helper_run(helper *w, status (*job)(void *context, message *why), void *context);
/* Tells whether it still works. */
bool helper_busy(helper *w);
/* Waits until it does not, and returns what the last piece of work returned; OK if there was none. */
status helper_wait(helper *w, message *why);
/* Waits for the work that is under way, and ends the thread. NULL is allowed. */
void helper_stop(helper *w);

#endif
