/* A thread beside the main one, and waiting for it. */
#ifndef REMLA_BASE_THREAD_H
#define REMLA_BASE_THREAD_H
#include <pthread.h>

/* Starts the thread with all signals blocked: those that request a stop are for the main thread. Returns what
 * pthread_create does. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *context);

/* Makes a condition of which the timed waits go by CLOCK_MONOTONIC, which nobody sets. It ends with
 * pthread_cond_destroy. */
void thread_condition_init(pthread_cond_t *condition);
/* Waits, without `lock`, which the caller holds, until such a condition is signalled or so many seconds (0 or
 * more) are over. */
void thread_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, double seconds);

#endif
