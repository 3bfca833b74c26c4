/* A thread beside the main one. */
#ifndef REMLA_BASE_THREAD_H
#define REMLA_BASE_THREAD_H
#include <pthread.h>

/* Starts the thread with all signals blocked: those that request a stop are for the main thread. Returns what
 * pthread_create does. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *context);

/* A condition of which the timed waits go by CLOCK_MONOTONIC. */
void thread_condition_init(pthread_cond_t *condition);

#endif
