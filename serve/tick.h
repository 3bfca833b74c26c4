/* Private to serve/: waits for a condition (thread_condition_init) no longer than a tick, so that the thread
 * looks around again. */
#ifndef REMLA_SERVE_TICK_H
#define REMLA_SERVE_TICK_H
#include "base/thread.h"

static inline void tick_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    thread_condition_wait(condition, lock, 0.1);
}

#endif
