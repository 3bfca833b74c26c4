/* Memory through which one thread hands bytes to another in order: a ring of chunks. One side fills the next
 * empty chunk, the other empties the next filled one; each waits for the other where it must. A ring that
 * holds all that comes never makes the filling side wait. */
#ifndef REMLA_TRAIN_COPY_RING_H
#define REMLA_TRAIN_COPY_RING_H
#include "base/device.h"

typedef struct copy_ring copy_ring;

typedef struct copy_chunk {
    char *data; /* chunk_bytes, aligned to 64 */
    int64_t bytes;
} copy_chunk;

/* Reserves `chunks` chunks (1 or more) of `chunk_bytes`, a multiple of 64: of host memory, pinned where
 * `d` is not NULL; or stops the job. */
copy_ring *copy_ring_new(device *d, int64_t chunk_bytes, int64_t chunks);
void copy_ring_free(copy_ring *r); /* NULL is allowed; both sides are done */
int64_t copy_ring_chunk_bytes(const copy_ring *r);

/* Touches every page once. While no chunk is filled. */
void copy_ring_touch(copy_ring *r);

/* The filling side: waits for an empty chunk (bytes is 0), and hands it over. */
copy_chunk *copy_ring_empty(copy_ring *r);
void copy_ring_filled(copy_ring *r);

/* The emptying side: waits for a filled chunk, and gives it back. */
const copy_chunk *copy_ring_full(copy_ring *r);
void copy_ring_emptied(copy_ring *r);

#endif
