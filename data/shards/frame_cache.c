/* A cache of decoded frames, shared by all files of the process. Samples that follow each other lie in the
 * same frame or the next, so a few frames suffice: SLOTS of them, and a miss decodes into the slot that was
 * not used for longest. A file is known by a number that is given out once and never again, so that a file
 * opened at the path of a closed one cannot find the old one's frames. */
#include "data/shards/frame_cache.h"
#include "base/file.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 4 };

typedef struct slot {
    uint64_t number; /* 0: empty */
    int64_t frame;
    uint64_t used; /* when, in reads */
    char *content;
    int64_t capacity;
} slot;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static slot slots[SLOTS];
static uint64_t reads, numbers;
static frame_decoder decoder;

uint64_t frame_cache_number(void)
{
    pthread_mutex_lock(&lock);
    const uint64_t number = ++numbers;
    pthread_mutex_unlock(&lock);
    return number;
}

/* Decodes a frame into the slot that was not used for longest. */
static status slot_fill(slot **out, uint64_t number, const seekable *z, const char *path, int64_t frame,
                        message *why)
{
    slot *s = &slots[0];
    for (int i = 1; i < SLOTS; i++)
        if (slots[i].used < s->used) s = &slots[i];
    const int64_t bytes = z->from[frame + 1] - z->from[frame];
    s->number = 0;
    if (bytes > s->capacity) {
        free(s->content);
        s->capacity = bytes;
        s->content = memory_new(bytes, 1, "a frame of %s", path);
    }
    int fd;
    int64_t now;
    TRY(file_open(path, &fd, &now, why));
    const status result = seekable_decode(&decoder, z, fd, path, frame, s->content, why);
    close(fd);
    TRY(result);
    s->number = number;
    s->frame = frame;
    *out = s;
    return OK;
}

static status slot_of(slot **out, uint64_t number, const seekable *z, const char *path, int64_t frame,
                      message *why)
{
    *out = NULL;
    for (int i = 0; i < SLOTS && !*out; i++)
        if (slots[i].number == number && slots[i].frame == frame) *out = &slots[i];
    if (!*out) TRY(slot_fill(out, number, z, path, frame, why));
    (*out)->used = ++reads;
    return OK;
}

static status copy(uint64_t number, const seekable *z, const char *path, int64_t offset, int64_t bytes,
                   char *out, message *why)
{
    while (bytes > 0) {
        slot *s;
        const int64_t frame = seekable_frame(z, offset), left = z->from[frame + 1] - offset,
                      n = bytes < left ? bytes : left;
        TRY(slot_of(&s, number, z, path, frame, why));
        memcpy(out, s->content + (offset - z->from[frame]), (size_t)n);
        out += n;
        offset += n;
        bytes -= n;
    }
    return OK;
}

status frame_cache_read(uint64_t number, const seekable *z, const char *path, int64_t offset, int64_t bytes,
                        void *out, message *why)
{
    pthread_mutex_lock(&lock);
    const status s = copy(number, z, path, offset, bytes, out, why);
    pthread_mutex_unlock(&lock);
    return s;
}
