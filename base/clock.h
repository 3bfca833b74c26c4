/* Measures time, for limits and speeds. */
#ifndef REMLA_BASE_CLOCK_H
#define REMLA_BASE_CLOCK_H

/* Seconds since some fixed moment; never goes back. */
double clock_seconds(void);
/* Writes "1:02:03" or "4:05", for reading. Returns `buffer` (at least 24 bytes). */
const char *clock_duration_text(double seconds, char *buffer);

/* Sleeps for *seconds and doubles them, up to 0.05: for a loop that asks whether something is over. */
void clock_nap(double *seconds);

#endif
