/* A thread that looks after calls of the disk which the training's own thread makes, and which may never
 * return. */
#ifndef REMLA_TRAIN_WATCHDOG_H
#define REMLA_TRAIN_WATCHDOG_H
#include "base/comm.h"

typedef struct watchdog watchdog;

/* Starts the thread, or stops the job. Borrows c. */
watchdog *watchdog_start(const comm *c);
void watchdog_stop(watchdog *w); /* NULL is allowed */

/* From now on, until watchdog_rest: warns on standard error, once, when this rank has not gone on for `warn`
 * seconds, and ends the job with UNSAVED after `end` seconds. Those in which it waits for other ranks do not
 * count, and they begin anew with every answer to a thread that writes files (base/file.h). `advice` ends the
 * sentence; copied. */
void watchdog_watch(watchdog *w, double warn, double end, const char *advice);
void watchdog_rest(watchdog *w);

#endif
