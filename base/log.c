/* Log lines go to one stream and, in a run, to a copy in its folder, on rank 0 only. A line that cannot be
 * written is reported once on standard error, and writing is tried again at every line. */
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int speaker = 1;
static FILE *stream; /* NULL: standard output */
static FILE *copy;
static bool stream_lost, copy_lost; /* reported already */

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

/* Returns false when the line could not be written; errno says why. */
static bool say(FILE *out, const char *prefix, const char *format, va_list args)
{
    flockfile(out); /* threads speak, too */
    fputs(prefix, out);
    vfprintf(out, format, args);
    fputc('\n', out);
    const bool whole = fflush(out) == 0;
    funlockfile(out);
    return whole;
}

/* Warns once about a log that cannot be written; the work that it reports goes on. */
static void lost(bool *said, const char *name, const char *beside)
{
    if (*said) return;
    *said = true;
    fprintf(stderr, "remla: warning: %s cannot be written: %s%s\n", name, strerror(errno), beside);
}

void log_line(const char *format, ...)
{
    if (!speaker) return;
    va_list args;
    va_start(args, format);
    const bool out = say(stream ? stream : stdout, "", format, args);
    va_end(args);
    if (!copy) return; /* commands that print results check standard output at their end */
    if (!out) lost(&stream_lost, "standard output", "; the log in the run's folder goes on");
    va_start(args, format);
    if (!say(copy, "", format, args)) lost(&copy_lost, "the log in the run's folder", "");
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
    if (!say(copy, "warning: ", format, args)) lost(&copy_lost, "the log in the run's folder", "");
    va_end(args);
}

void log_file_line(const char *format, ...)
{
    if (!copy) return;
    va_list args;
    va_start(args, format);
    say(copy, "", format, args);
    va_end(args);
}
