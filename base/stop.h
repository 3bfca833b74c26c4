/* Signals that ask for a stop: SIGINT, SIGTERM, SIGUSR1 set a flag that the training loop looks at between
 * steps. */
#ifndef REMLA_BASE_STOP_H
#define REMLA_BASE_STOP_H

/* From now on the signals are remembered instead of killing. A second SIGINT kills at once. */
void stop_catch(void);
/* The signal that came first, or 0. */
int stop_requested(void);

#endif
