/* Signals that ask for a stop: SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU set a flag that the
 * training loop looks at between steps. */
#ifndef REMLA_BASE_STOP_H
#define REMLA_BASE_STOP_H

/* From now on the signals are remembered instead of killing. A second SIGINT kills at once. A SIGHUP that is
 * ignored (nohup) stays so. */
void stop_catch(void);
/* Sets the text that the handler prints on standard error at the first signal, behind "remla: signal 15: ". A
 * SIGTERM from the parent process prints `from_parent` instead, if that is not NULL. Both are borrowed until
 * the next call; NULL: nothing is printed any more. */
void stop_announce(const char *text, const char *from_parent);
/* Returns the signal that came first, or 0. */
int stop_requested(void);

#endif
