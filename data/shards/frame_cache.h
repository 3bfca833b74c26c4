/* Keeps the frames that were decoded last, of any file, so that samples which follow each other decode each
 * frame once. One cache for the process, of bounded size (at most 4 frames; 1 MiB for shards that this
 * program wrote). Any number of threads may read, but one mutex is held while a frame is decoded: a second
 * reader waits, even for another frame. Training has one reader. */
#ifndef REMLA_DATA_SHARDS_FRAME_CACHE_H
#define REMLA_DATA_SHARDS_FRAME_CACHE_H
#include "data/shards/seekable.h"

/* Returns a number that no other file of this process has; the cache knows the file by it. */
uint64_t frame_cache_number(void);
/* Reads content bytes [offset, offset+bytes) of the file, which is opened only when a frame must be decoded.
 */
status frame_cache_read(uint64_t number, const seekable *z, const char *path, int64_t offset, int64_t bytes,
                        void *out, message *why);

#endif
