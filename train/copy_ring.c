/* Two counters under one lock: chunks that were filled, and chunks that were emptied. Chunk i of all that
 * pass lies at place i modulo the number of places. */
#include "train/copy_ring.h"
#include "base/arena.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct copy_ring {
    arena memory;
    copy_chunk *chunk;
    int64_t chunks, chunk_bytes;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t filled, emptied;
};

copy_ring *copy_ring_new(device *d, int64_t chunk_bytes, int64_t chunks)
{
    copy_ring *const r = memory_new(1, sizeof *r, "a ring of chunks");
    r->memory = (arena){.name = "copy for checkpoints", .device = d, .pinned = d};
    r->chunks = chunks;
    r->chunk_bytes = chunk_bytes;
    r->chunk = memory_new(chunks, sizeof *r->chunk, "a list of %lld chunks", (long long)chunks);
    arena_reserve(&r->memory, chunks * chunk_bytes);
    for (int64_t i = 0; i < chunks; i++) r->chunk[i].data = arena_bytes(&r->memory, chunk_bytes);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    return r;
}

void copy_ring_free(copy_ring *r)
{
    if (!r) return;
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    arena_release(&r->memory);
    free(r->chunk);
    free(r);
}

void copy_ring_touch(copy_ring *r) { memset(r->memory.base, 0, (size_t)r->memory.size); }

int64_t copy_ring_chunk_bytes(const copy_ring *r) { return r->chunk_bytes; }

copy_chunk *copy_ring_empty(copy_ring *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->filled - r->emptied == r->chunks) pthread_cond_wait(&r->changed, &r->lock);
    copy_chunk *const c = &r->chunk[r->filled % r->chunks];
    pthread_mutex_unlock(&r->lock);
    c->bytes = 0;
    return c;
}

const copy_chunk *copy_ring_full(copy_ring *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->filled == r->emptied) pthread_cond_wait(&r->changed, &r->lock);
    const copy_chunk *const c = &r->chunk[r->emptied % r->chunks];
    pthread_mutex_unlock(&r->lock);
    return c;
}

static void count(copy_ring *r, int64_t *counter)
{
    pthread_mutex_lock(&r->lock);
    ++*counter;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void copy_ring_filled(copy_ring *r) { count(r, &r->filled); }
void copy_ring_emptied(copy_ring *r) { count(r, &r->emptied); }
