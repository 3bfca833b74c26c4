/* Private to serve/: a condition that a thread waits for no longer than a tick, so that it looks around
 * again. */
#ifndef REMLA_SERVE_TICK_H
#define REMLA_SERVE_TICK_H
#include <pthread.h>

enum { TICK_MILLISECONDS = 100 };

/* Makes a condition for tick_wait; it ends with pthread_cond_destroy. */
void tick_init(pthread_cond_t *condition);
/* Waits, without `lock`, which the caller holds, until the condition is signalled or a tick is over. */
void tick_wait(pthread_cond_t *condition, pthread_mutex_t *lock);

#endif
