/* A stack for signal handlers. oneDNN's products keep the stack pointer in a buffer on the heap while they
 * run, so a handler that ran on the thread's own stack would write over what lies below that buffer. */
#ifndef REMLA_BASE_SIGNAL_STACK_H
#define REMLA_BASE_SIGNAL_STACK_H

/* From now on handlers with SA_ONSTACK run on a stack of their own when they interrupt the calling thread.
 * Every handler that returns, or whose words must come out, has that flag. Cheap after the first call of a
 * thread. */
void signal_stack_use(void);

#endif
