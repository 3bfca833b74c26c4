/* Signals that ask for a stop: SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU set a flag that the
 * training loop looks at between steps. */
#ifndef REMLA_BASE_STOP_H
#define REMLA_BASE_STOP_H

/* From now on the signals are remembered instead of killing. A second SIGINT kills at once. A SIGHUP that is
 * ignored (nohup) stays so. */
void stop_catch(void);
/* What standard error says at the very moment of the first signal, behind "remla: signal 15: ". A SIGTERM
 * from the parent process gets `from_parent` instead, where it is not NULL. Both are borrowed until the next
 * call; NULL: nothing is said any more. */
void stop_announce(const char *text, const char *from_parent);
/* The signal that came first, or 0. */
int stop_requested(void);

#endif
