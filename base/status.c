/* The two layers of errors. fail writes a sentence for the caller and returns its code. die and REQUIRE print
 * theirs and end every rank: through the hook (MPI_Abort under MPI), because a rank that only exits would
 * leave the others waiting in their next collective call. */
#include "base/status.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int this_rank = -1; /* -1: not under MPI, no rank is printed */
static char this_host[64], place[64];
static pthread_mutex_t place_lock = PTHREAD_MUTEX_INITIALIZER; /* threads die, too */
static void (*abort_job)(int code);

/* Replaces control characters: names from files may hold anything, but a message stays one line and cannot
 * control a terminal. */
static void one_line(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f) *p = '?';
}

status fail(message *why, status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    one_line(why->text);
    return code;
}

void die_hook(int rank, const char *host, void (*hook)(int code))
{
    this_rank = rank;
    snprintf(this_host, sizeof this_host, "%s", host);
    abort_job = hook;
}

void die_place(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&place_lock);
    vsnprintf(place, sizeof place, format, args);
    pthread_mutex_unlock(&place_lock);
    va_end(args);
}

/* Lets one thread pass: the job is to have one last sentence and one code. */
static void only_once(void)
{
    static pthread_mutex_t dying = PTHREAD_MUTEX_INITIALIZER;
    static __thread int count;
    if (count++ == 0)
        pthread_mutex_lock(&dying); /* nobody gives it back */
    else
        _exit(ERR_BUG); /* what stops the job has failed */
}

/* One write per message, so that sentences of several ranks do not mix. */
static void stop(status code, const char *text)
{
    only_once();
    fflush(stdout);
    pthread_mutex_lock(&place_lock);
    if (this_rank >= 0)
        fprintf(stderr, "remla: rank %d on %s%s%s: %s\n", this_rank, this_host, place[0] ? ", " : "", place,
                text);
    else
        fprintf(stderr, "remla: %s\n", text);
    pthread_mutex_unlock(&place_lock);
    fflush(stderr);
    if (abort_job) abort_job((int)code);
    exit((int)code);
}

void die(status code, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    stop(code, text);
    abort(); /* not reached: tells the compiler so */
}

void require_failed(const char *file, int line, const char *function, const char *condition,
                    const char *format, ...)
{
    char detail[1024], text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    snprintf(text, sizeof text, "internal inconsistency: %s (%s:%d): %s: %s", function, file, line, condition,
             detail);
    stop(ERR_BUG, text);
    abort();
}
