/* Reads the bytes of a text file, decompressed as its name says: X.gz (any number of gzip members), X.zst
 * (any number of zstd frames), and any other name as it is. Memory is bounded whatever the file says: 256
 * KiB, and for .zst at most 128 MiB more, the largest window that `zstd -d` accepts by default. */
#ifndef REMLA_DATA_PREPARE_TEXT_STREAM_H
#define REMLA_DATA_PREPARE_TEXT_STREAM_H
#include "base/file.h"

typedef struct text_stream {
    char path[PATH_BYTES];
    int64_t bytes;         /* of the file */
    int64_t at;            /* how far the file has been read */
    struct packed *unpack; /* NULL: the file is not compressed */
    int fd;
} text_stream;

/* Returns true if the name says that the file is compressed: such a file cannot be read from the middle. */
bool text_stream_is_packed(const char *path);
/* Returns the length of the name without the suffix of compression: that of "x.txt" for x.txt.gz. */
int text_stream_name_length(const char *path);

/* Reads from byte `from` on, which is 0 for a compressed file. The caller closes, also after a failure. */
status text_stream_open(text_stream *s, const char *path, int64_t from, message *why);
/* Reads up to `bytes` more into `out`; *got is 0 at the end, and only there. A file that ends inside
 * compressed data, or whose checksums do not match, is an ERR_INPUT. */
status text_stream_read(text_stream *s, void *out, int64_t bytes, int64_t *got, message *why);
void text_stream_close(text_stream *s);

#endif
