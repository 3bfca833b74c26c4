/* One stack per thread that asks for it. */
#include "base/signal_stack.h"
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum { STACK_BYTES = 65536 }; /* the registers of AVX-512 and AMX take 11 KB of it */

void signal_stack_use(void)
{
    static __thread bool in_use;
    static __thread char stack[STACK_BYTES]; /* goes with the thread */
    stack_t now;
    if (in_use) return;
    in_use = true;
    /* A sanitizer has its own already, and gives it back when the thread ends. */
    if (sigaltstack(NULL, &now) == 0 && now.ss_flags & SS_DISABLE)
        sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
}
