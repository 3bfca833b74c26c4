/* The loader reads the batch of the next step, on a thread of its own, while the step computes. The result
 * for a position is the same as that of reading it on the spot. That holds for errors too: one that the
 * thread meets ahead of time is returned when its batch is requested. Memory: two batches. */
#ifndef REMLA_DATA_LOADER_H
#define REMLA_DATA_LOADER_H
#include "base/status.h"
#include "base/token_batch.h"
#include <stdbool.h>

/* Fills the batch of `position`. Runs on the loader's thread, so nothing that it reads through `context` may
 * change while the loader runs. */
typedef status (*loader_read)(const void *context, token_batch *b, int64_t position, message *why);

typedef struct loader loader;

/* Starts the thread, for batches of `sequences` samples of T tokens. It begins at once with the batch of
 * `first` (-1: none). Borrows context until loader_stop. */
loader *loader_start(loader_read read, const void *context, int64_t sequences, int64_t T, int64_t first);
void loader_stop(loader *l); /* waits for the thread; NULL is fine */

/* How long loader_next may wait for the thread, in seconds; 0: forever, which is also how it begins. After
 * that it stops the job with ERR_DEVICE, or, where nobody waits for this process (`alone`), warns once and
 * goes on waiting. Seconds in which the process itself was stopped do not count. */
void loader_limit(loader *l, double seconds, bool alone);

/* Gives the batch of `position`, good until the next call, and lets the thread read that of `next` (-1:
 * none). Adds the seconds that this took to *waited. Not collective; one thread calls it. */
status loader_next(loader *l, int64_t position, int64_t next, const token_batch **batch, double *waited,
                   message *why);

#endif
