#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static int speaker = 1;
static FILE *stream; /* NULL: standard output */
static FILE *copy;

void log_start(int rank, bool to_stderr)
{
    speaker = rank == 0;
    stream = to_stderr ? stderr : stdout;
}

void log_file(const char *path)
{
    if (copy) fclose(copy);
    copy = path && speaker ? fopen(path, "a") : NULL;
}

static void say(FILE *out, const char *prefix, const char *format, va_list args)
{
    fputs(prefix, out);
    vfprintf(out, format, args);
    fputc('\n', out);
    fflush(out);
}

void log_line(const char *format, ...)
{
    if (!speaker) return;
    va_list args;
    va_start(args, format);
    say(stream ? stream : stdout, "", format, args);
    va_end(args);
    if (!copy) return;
    va_start(args, format);
    say(copy, "", format, args);
    va_end(args);
}

void log_warning(const char *format, ...)
{
    if (!speaker) return;
    va_list args;
    va_start(args, format);
    say(stderr, "remla: warning: ", format, args);
    va_end(args);
    if (!copy) return;
    va_start(args, format);
    say(copy, "warning: ", format, args);
    va_end(args);
}

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t memory_peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

const char *duration_text(double seconds, char *buffer)
{
    const long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(buffer, 24, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, 24, "%lld:%02lld", s / 60, s % 60);
    return buffer;
}
