/* Reads bytes in order, from a plain file or one that zstd has compressed, through bounded memory. The
 * importers read through this. */
#ifndef REMLA_DATA_PREPARE_BYTE_STREAM_H
#define REMLA_DATA_PREPARE_BYTE_STREAM_H
#include "base/file.h"

typedef struct byte_stream {
    char path[PATH_BYTES];
    int fd;
    int64_t file_bytes;
    int64_t at;      /* bytes handed out or skipped: the place in what is read, not in a compressed file */
    int64_t file_at; /* of the next byte to fetch */
    unsigned char *buffer;
    int64_t from, to;         /* the bytes of the buffer that are not taken yet */
    struct zstd_source *zstd; /* NULL: the file as it is */
} byte_stream;

/* On failure nothing is open. */
status byte_stream_open(byte_stream *b, const char *path, message *why);
/* Opens a compressed file. Windows of more than 128 MiB are refused; zstd writes none by default. */
status byte_stream_open_zstd(byte_stream *b, const char *path, message *why);
void byte_stream_close(byte_stream *b); /* of a zeroed one: nothing */

/* Reads exactly `count` bytes. ERR_INPUT when the file ends before or is damaged. */
status byte_stream_read(byte_stream *b, void *out, int64_t count, message *why);
/* Skips `count` bytes; in a plain file without reading them. */
status byte_stream_skip(byte_stream *b, int64_t count, message *why);
/* ERR_INPUT when the content goes on. */
status byte_stream_end(byte_stream *b, message *why);

#endif
