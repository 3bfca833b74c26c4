/* Time from the monotonic clock, which neither a user nor NTP sets back. */
#include "base/clock.h"
#include <stdio.h>
#include <time.h>

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *clock_duration_text(double seconds, char *buffer)
{
    const long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(buffer, 24, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buffer, 24, "%lld:%02lld", s / 60, s % 60);
    return buffer;
}

void clock_nap(double *seconds)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * *seconds)}, NULL);
    *seconds = *seconds < 0.025 ? 2 * *seconds : 0.05;
}
