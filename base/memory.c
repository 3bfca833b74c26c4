/* Small memory of the host: allocations that stop the job instead of returning NULL. Large blocks are arenas
 * (arena.c). */
#include "base/memory.h"
#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { WHAT_BYTES = 1024 };

#define WHAT_TEXT(what)                                                                                      \
    char text[WHAT_BYTES];                                                                                   \
    va_list args;                                                                                            \
    va_start(args, what);                                                                                    \
    vsnprintf(text, sizeof text, what, args);                                                                \
    va_end(args)

void *memory_new(int64_t count, size_t size, const char *what, ...)
{
    size_t bytes;
    void *got = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes)) got = calloc(1, bytes + (bytes == 0));
    if (got) return got;
    WHAT_TEXT(what);
    die(ERR_DEVICE, "no memory for %s: %lld times %zu bytes", text, (long long)count, size);
}

void memory_failed(const char *what, ...)
{
    WHAT_TEXT(what);
    die(ERR_DEVICE, "no memory for %s", text);
}

void *memory_check(void *got, const char *what, ...)
{
    if (got) return got;
    WHAT_TEXT(what);
    die(ERR_DEVICE, "no memory for %s", text);
}

int64_t memory_peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}
