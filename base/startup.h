/* What runs before main: the constructors of libraries. */
#ifndef REMLA_BASE_STARTUP_H
#define REMLA_BASE_STARTUP_H

/* Says that main has begun. A program that calls this function is watched from its first instruction until
 * then, where memory is limited by `ulimit -v`: constructors that compute for seconds end it with ERR_DEVICE
 * and a sentence. */
void startup_done(void);

#endif
