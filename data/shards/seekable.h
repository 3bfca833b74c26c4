/* The seekable zstd format, version 0.1.0: zstd frames one after another, then a table of their sizes and
 * checksums in a skippable frame, so that any place can be read by decoding one frame. The table must agree
 * with the file's size and with the frames themselves, and no allocation is larger than the file justifies:
 * frames hold at most FRAME_LIMIT bytes. */
#ifndef REMLA_DATA_SHARDS_SEEKABLE_H
#define REMLA_DATA_SHARDS_SEEKABLE_H
#include "base/status.h"
#include <stdint.h>

#define SKIPPABLE_MAGIC  0x184D2A50u /* of the frame that our header lies in */
#define SEEK_TABLE_MAGIC 0x184D2A5Eu /* of the skippable frame at the end */
#define SEEKABLE_MAGIC   0x8F92EAB1u /* the last four bytes of the file */
enum {
    SEEKABLE_MOST_FRAMES = 0x8000000, /* the format's own limit */
    FRAME_LIMIT = 1 << 24,            /* bytes of content of one frame */
    WINDOW_LIMIT = 1 << 23,           /* the largest window that RFC 9659 requires of decoders */
};

/* The places of the frames. Immutable after opening: threads share it. */
typedef struct seekable {
    int64_t frames;
    int64_t *at;   /* (frames+1) the place of each in the file, and of the table */
    int64_t *from; /* (frames+1) the place of its content, and the end; a skippable frame has no content */
    uint32_t *checksum; /* low half of the content's XXH64; NULL: the table has none */
} seekable;

/* Reads the table at the end of an open file of `bytes`. `path` is for sentences. ERR_INPUT: there is no
 * table, or it does not fit the file. */
status seekable_open(seekable *z, int fd, const char *path, int64_t bytes, message *why);
/* Does the same from memory: `tail` is the end of the file. */
status seekable_parse(seekable *z, const char *path, const uint8_t *tail, int64_t tail_bytes, int64_t bytes,
                      message *why);
void seekable_close(seekable *z);
int64_t seekable_bytes(const seekable *z); /* of content */
/* The frame that holds byte `offset` of the content. */
int64_t seekable_frame(const seekable *z, int64_t offset);

/* Buffers for decoding, for one thread at a time. Starts as {0} and lives as long as the process. */
typedef struct frame_decoder {
    void *zstd;
    uint8_t *packed;
    int64_t capacity; /* of packed */
} frame_decoder;

/* Reads frame `frame`, decodes it into `out` (from[frame+1] - from[frame] bytes) and verifies it. A damaged
 * frame is an ERR_INPUT naming file and frame. */
status seekable_decode(frame_decoder *d, const seekable *z, int fd, const char *path, int64_t frame,
                       void *out, message *why);
/* Does the same for `packed_bytes` bytes in memory that should hold `bytes` of content. checksum: NULL when
 * the table has none; then the frame must have its own. */
status seekable_frame_decode(frame_decoder *d, const char *path, int64_t frame, const uint8_t *packed,
                             int64_t packed_bytes, void *out, int64_t bytes, const uint32_t *checksum,
                             message *why);

#endif
